"""Quantize after training by every range estimator and number of calibration images; writes the accuracies as CSV."""

from _src import stage

import dataclasses
from itertools import product
from pathlib import Path

import pandas as pd

from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import evaluate
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.pipeline import ptq_pipeline

COLUMNS = ["config", "granularity", "estimator", "images", "validation_top1", "test_top1"]


@stage(load_checked_params, writes="metrics/calibration/{name}.csv", names="calibration_sweep.names")
def main(params: Params, output: Path, name: str) -> None:
    config, sweep, rows = params.ptq[name], params.calibration_sweep, []
    device = choose_device()
    fp32 = read_skewed(FP32, params.range_skew, params.seed)
    dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
    splits = [split.sample(sweep.evaluation_images, params.seed) for split in (dataset.validation, dataset.test)]
    for estimator, images in product(sweep.estimators, sweep.images):
        calibration = dataclasses.replace(config.calibration, estimator=estimator, images=images)
        changed = dataclasses.replace(config, calibration=calibration)
        forward = quantized_forward(ptq_pipeline(fp32, dataset, changed, params.seed), device)
        label = f"{name}, {estimator}, {images} images"
        accuracies = [evaluate(forward, split, label)["top1"] for split in splits]
        rows.append((name, config.weights.granularity, estimator, images, *accuracies))
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS), digits=4)
