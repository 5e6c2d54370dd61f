"""The network that every quantized one comes from."""

from pathlib import Path

from torch import nn

from selectq.graph.capture import capture
from selectq.networks.checkpoint import Fp32Checkpoint, read_fp32
from selectq.networks.range_skew import skew_ranges


def read_parent(path: Path, range_skew: float, seed: int) -> Fp32Checkpoint[nn.Module]:
    """The network that is quantized: an FP32 checkpoint with its channel ranges skewed, the function unchanged."""
    checkpoint = read_fp32(path)
    if range_skew:
        skew_ranges(checkpoint.model, capture(checkpoint.model), range_skew, seed)
    return checkpoint
