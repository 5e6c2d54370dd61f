"""Quantize after training by every range estimator and number of calibration images; writes the accuracies as CSV."""

import _src  # noqa: F401

# isort: split
import argparse
import dataclasses
from itertools import product
from pathlib import Path

import pandas as pd

from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.files import only_writer, write_csv
from selectq.networks.parent import read_parent
from selectq.params.load import choose
from selectq.ptq.pipeline import ptq_pipeline
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.evaluate import evaluate
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")
COLUMNS = ["config", "granularity", "estimator", "images", "validation_top1", "test_top1"]


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration listed under calibration_sweep in params.yaml")
    name: str = parser.parse_args().name
    params = load_checked_params(IMAGES)
    choose(dict.fromkeys(params.calibration_sweep.names), name, "calibration_sweep.names")
    config, sweep, rows = params.ptq[name], params.calibration_sweep, []
    output = Path(f"metrics/calibration/{name}.csv")
    with only_writer(output):
        device = choose_device()
        parent = read_parent(PARENT, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(parent.normalization)
        splits = [split.sample(sweep.evaluation_images, params.seed) for split in (dataset.validation, dataset.test)]
        for estimator, images in product(sweep.estimators, sweep.images):
            calibration = dataclasses.replace(config.calibration, estimator=estimator, images=images)
            changed = dataclasses.replace(config, calibration=calibration)
            forward = quantized_forward(ptq_pipeline(parent, dataset, changed, params.seed), device)
            label = f"{name}, {estimator}, {images} images"
            accuracies = [evaluate(forward, split, label)["top1"] for split in splits]
            rows.append((name, config.weights.granularity, estimator, images, *accuracies))
        write_csv(output, pd.DataFrame(rows, columns=COLUMNS), digits=4)


if __name__ == "__main__":
    run(main)
