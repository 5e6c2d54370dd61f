"""Measure the range of every channel of the inspected layers in the FP32 network; writes them as CSV."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

from selectq.data.augment import shown_batches
from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.drift.distributions import channel_ranges
from selectq.files import only_writer, write_csv
from selectq.graph.parameters import inspected_convolutions
from selectq.networks.parent import read_parent
from selectq.quantization.post_training import fold_parent
from selectq.stage import run
from selectq.training.device import choose_device

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")
OUTPUT = Path("metrics/channel_ranges.csv")


def main() -> None:
    """Run the stage."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_checked_params(IMAGES)
    with only_writer(OUTPUT):
        device = choose_device()
        original = read_parent(PARENT, params.range_skew, params.seed)
        test = read_dataset(IMAGES).to(device).normalised(original.normalization).test
        parent = fold_parent(original, device)
        inspected = inspected_convolutions(parent.graph, params.drift.inspect)
        write_csv(OUTPUT, channel_ranges(parent, inspected, shown_batches(test, "channel ranges")))


if __name__ == "__main__":
    run(main)
