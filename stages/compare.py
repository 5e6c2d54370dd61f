"""Compare the networks on the same test images, and over seeds: what is real, and what is chance."""

import _src  # noqa: F401

# isort: split
import argparse
from itertools import product
from pathlib import Path

from selectq.data.packed import read_dataset
from selectq.files import only_writer, write_csv
from selectq.params.load import load_params
from selectq.stage import run
from selectq.stale import drop_others
from selectq.statistics.answers import read_answers
from selectq.statistics.comparisons import contrast_table, method_table, paired_table, seed_table
from selectq.statistics.rows import with_written_p
from selectq.tables.configurations import list_configurations

IMAGES = Path("data/images.safetensors")
LOGITS = Path("models/logits")
PAIRED = Path("results/paired.csv")
SEEDS = Path("results/seeds.csv")
METHODS = Path("results/methods.csv")
CONTRASTS = Path("results/contrasts.csv")
RETRAINED = Path("metrics/oscillation")  # written by retraining alone; DVC wants it for `table` in every study


def main() -> None:
    """Run the stage."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_params()
    settings = params.statistics
    with only_writer(PAIRED):
        configurations = list_configurations(params.ptq, params.qat, params.qat_training.algorithms)
        names = [configuration.name for configuration in configurations]
        repeats = list(product(params.repeat.names, params.repeat.seeds))
        drop_others(LOGITS, ["fp32", *names])
        drop_others(LOGITS / "repeats", [f"{name}-{seed}" for name, seed in repeats])
        answers = read_answers(LOGITS, names, repeats, read_dataset(IMAGES).test.labels.numpy())
        contrasts = contrast_table(answers, params.qat, settings)
        paired = paired_table(answers.own, configurations, settings)

        write_csv(SEEDS, seed_table(answers, params.seed))
        write_csv(METHODS, method_table(answers, names, params.seed, settings.confidence))
        write_csv(CONTRASTS, with_written_p(contrasts))
        write_csv(PAIRED, with_written_p(paired))
        RETRAINED.mkdir(parents=True, exist_ok=True)
        sure = paired.query("non_inferior and reference == 'fp32'")["config"]
        print(f"keeps up with FP32, within {settings.margin_points:g} points: {', '.join(sure) or 'none'}")


if __name__ == "__main__":
    run(main)
