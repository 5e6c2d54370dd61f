"""Measure the range of every channel of the inspected layers in the FP32 network; writes them as CSV."""

from _src import stage

from pathlib import Path

from selectq.analysis.distributions import channel_ranges
from selectq.config.configs import Params
from selectq.data.augment import shown_batches
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv
from selectq.graph.parameters import inspected_convolutions
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.quantization.post_training import fold_fp32


@stage(load_checked_params, writes="metrics/channel_ranges.csv")
def main(params: Params, output: Path) -> None:
    device = choose_device()
    original = read_skewed(FP32, params.range_skew, params.seed)
    test = read_dataset(IMAGES).to(device).normalised(original.normalization).test
    fp32 = fold_fp32(original, device)
    inspected = inspected_convolutions(fp32.graph, params.drift.inspect)
    write_csv(output, channel_ranges(fp32, inspected, shown_batches(test, "channel ranges")))
