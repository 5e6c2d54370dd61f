"""The network that every quantized one comes from."""

from pathlib import Path

from torchvision.models import MobileNetV2

from selectq.networks.checkpoint import Fp32Checkpoint, read_fp32
from selectq.networks.mobilenetv2 import require_mobilenetv2
from selectq.networks.range_skew import skew_ranges


def read_parent(path: Path, range_skew: float, seed: int) -> Fp32Checkpoint[MobileNetV2]:
    """The network that is quantized: an FP32 checkpoint with its channel ranges skewed, the function unchanged.

    Raises:
        UserError: no such checkpoint, or one of a network that cannot be quantized yet.
    """
    checkpoint = read_fp32(path)
    model = require_mobilenetv2(checkpoint.model, checkpoint.config)
    skew_ranges(model, range_skew, seed)
    return Fp32Checkpoint(model, checkpoint.config, checkpoint.classes)
