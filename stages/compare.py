"""Compare the networks on the same test images, and over seeds: what is real, and what is chance."""

from _src import stage

from itertools import product
from pathlib import Path

from selectq.config.configs import Params
from selectq.config.configurations import list_configurations
from selectq.config.load import load_params
from selectq.config.planned import planned_configurations
from selectq.data.packed import read_dataset
from selectq.files import only_writer, write_csv
from selectq.stale import drop_others
from selectq.statistics.comparisons import contrast_table, method_table, paired_table, seed_table
from selectq.statistics.predictions import read_predictions
from selectq.statistics.schemas import with_written_p

IMAGES = Path("data/images.safetensors")
LOGITS = Path("models/logits")
PAIRED = Path("results/paired.csv")
SEEDS = Path("results/seeds.csv")
METHODS = Path("results/methods.csv")
CONTRASTS = Path("results/contrasts.csv")
RETRAINED = Path("metrics/oscillation")  # written by retraining alone; DVC wants it for `table` in every study


@stage(load_params)
def main(params: Params) -> None:
    settings = params.statistics
    with only_writer(PAIRED):
        configurations = list_configurations(params.ptq, params.qat, params.qat_training.algorithm_names)
        configurations += planned_configurations(params.convert)
        names = [configuration.name for configuration in configurations]
        repeats = list(product(params.repeat.names, params.repeat.seeds))
        drop_others(LOGITS, ["fp32", *names])
        drop_others(LOGITS / "repeats", [f"{name}-{seed}" for name, seed in repeats])
        predictions = read_predictions(LOGITS, names, repeats, read_dataset(IMAGES).test.labels.numpy())
        contrasts = contrast_table(predictions, params.qat, settings)
        paired = paired_table(predictions.own, configurations, settings)

        write_csv(SEEDS, seed_table(predictions, params.seed))
        write_csv(METHODS, method_table(predictions, names, params.seed, settings.confidence))
        write_csv(CONTRASTS, with_written_p(contrasts))
        write_csv(PAIRED, with_written_p(paired))
        RETRAINED.mkdir(parents=True, exist_ok=True)
        sure = paired.query("non_inferior and reference == 'fp32'")["config"]
        print(f"keeps up with FP32, within {settings.margin_points:g} points: {', '.join(sure) or 'none'}")
