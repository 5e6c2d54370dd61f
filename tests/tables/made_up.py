"""A made-up run: parameters and metrics as the earlier stages write them, with numbers that can be checked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selectq.files import write_csv, write_json
from selectq.params.load import read_yaml

PARAMETERS = 2_000_000
TEST_IMAGES = 2_500
FP32_TOP1 = 90.0

INT8_TOP1 = {"tensor": 40.0, "channel": 60.0, "full": 89.0, "dwpw": 88.0, "dwpw_asym": 90.4, "mine": 50.0}
RETRAINED = {"tensor": 0, "channel": 0, "full": 2_000_000, "dwpw": 930_000, "dwpw_asym": 930_000, "mine": 30_000}
LAYER = "features.14.conv.1.0"
KINDS_OF_A_BLOCK = ("expansion", "depthwise", "projection")
SPLITS = ("train", "validation")


def parameters(checkout: Path) -> dict[str, Any]:
    """The committed parameters with other configurations: two of PTQ, three of the paper's QAT, one of our own."""
    document = read_yaml(checkout / "params.yaml")
    calibration = document["qat_training"]["calibration"]
    asymmetric, symmetric = ({"bits": 8, "symmetric": value} for value in (False, True))
    per_channel = {"bits": 8, "granularity": "channel"}
    document["ptq"] = {
        granularity: {
            "weights": {"bits": 8, "granularity": granularity},
            "activations": asymmetric,
            "calibration": calibration,
        }
        for granularity in ("tensor", "channel")
    }
    training = {"epochs": 3, "lr": 0.001, "weights": per_channel, "activations": symmetric}
    selective = {**training, "scope": ["classifier", "projection", "depthwise"]}
    document["qat"] = {
        "full": {**training, "scope": ["all"]},
        "dwpw": selective,
        "dwpw_asym": {**selective, "activations": asymmetric},
        "mine": {**training, "scope": ["features.14"], "weights": {"bits": 4, "granularity": "channel"}},
    }
    document["convert"] = [*document["ptq"], *document["qat"]]
    return document


def write_metrics(root: Path) -> None:
    """The metrics of every configuration of `parameters`."""
    fp32 = {"test_top1": FP32_TOP1, "validation_top1": 91.0, "parameters": PARAMETERS, "size_bytes": 9_120_000}
    write_json(root / "fp32.json", {**fp32, "test_images": TEST_IMAGES, "data": "digits & <others>"})
    for name, top1 in INT8_TOP1.items():
        simulated = {"validation_top1": top1 + 1, "parameters": PARAMETERS, "params_retrained": RETRAINED[name]}
        int8 = {"test_top1": top1, "size_bytes": 2_640_000, "flipped_pct": 0.12, "operators": {"QGemm": 1}}
        write_json(root / "simulated" / f"{name}.json", simulated)
        write_json(root / "int8" / f"{name}.json", int8)
    for name in ("fp32", "full", "dwpw", "dwpw_asym", "mine"):
        write_csv(root / "learning" / f"{name}.csv", learning_curve(name, 10 if name == "fp32" else 3))
    write_csv(root / "drift" / "drift.csv", drift())
    write_csv(root / "drift" / "channel_ranges.csv", channel_ranges())
    write_csv(root / "drift" / "histograms.csv", histograms(), digits=8)


def learning_curve(name: str, epochs: int) -> pd.DataFrame:
    """An accuracy that rises to the configuration's own."""
    top1 = INT8_TOP1.get(name, FP32_TOP1)
    rows = [
        (name, epoch, split, 2.0 / epoch, top1 * (1 - 0.5**epoch) + SPLITS.index(split))
        for epoch in range(1, epochs + 1)
        for split in SPLITS
    ]
    return pd.DataFrame(rows, columns=["config", "epoch", "split", "loss", "top1"])


def drift() -> pd.DataFrame:
    """Both kinds, along 19 blocks and 53 layers; more per tensor than per channel, most in depthwise layers."""
    layers = ["stem", *KINDS_OF_A_BLOCK[1:], *KINDS_OF_A_BLOCK * 16, "head", "classifier"]
    units = [(index, f"features.{index}", "block") for index in range(19)]
    units += [(index, f"layers.{index}", kind) for index, kind in enumerate(layers)]
    rows = [
        (config, index, layer, layer_kind, kind, height * (2 if layer_kind == "depthwise" else 1) * growth(index))
        for config, height in (("tensor", 0.1), ("channel", 0.03))
        for kind, growth in (("accumulated", lambda index: 1 + index / 4), ("isolated", lambda index: 1 + index % 5))
        for index, layer, layer_kind in units
    ]
    return pd.DataFrame(rows, columns=["config", "index", "layer", "layer_kind", "kind", "drift"])


def channel_ranges() -> pd.DataFrame:
    """Log-normal ranges of 576 channels."""
    high = np.random.default_rng(0).lognormal(1.0, 1.0, 576)
    return pd.DataFrame({"layer": LAYER, "channel": range(576), "low": 0.0, "high": high})


def histograms() -> pd.DataFrame:
    """Weights around 0; activations of which half are 0. Per tensor, a tenth of the levels is used."""
    tables = []
    for config, step in (("tensor", 10), ("channel", 1)):
        for tensor, levels in (("weight", np.arange(-127, 128, step)), ("activation", np.arange(0, 256, step))):
            frequencies = np.exp(-np.abs(levels) / 20)
            table = pd.DataFrame({"level": levels, "share": frequencies / frequencies.sum()})
            tables.append(table.assign(config=config, layer=LAYER, tensor=tensor))
    return pd.concat(tables)[["config", "layer", "tensor", "level", "share"]]
