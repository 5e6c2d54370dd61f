"""Weight ranges with the smallest squared error: what saturates costs less than a coarser step for all others.

The grid search of Choukroun et al. 2019 ("Low-bit Quantization of Neural Networks for Efficient Inference") and of
Nagel et al. 2021 ("A White Paper on Neural Network Quantization", section 3.1).
"""

import torch
from torch import Tensor

from selectq.config.configs import WeightScheme
from selectq.ptq.registry import PtqState, When, register
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.quantizers import per_output
from selectq.quantization.scale_assignment import ScaleAssignment, weight_quantizer_of
from selectq.quantization.scales import covering_scale, largest_magnitude

CANDIDATES = 100
"""Evenly shrunken ranges that are tried."""


@torch.no_grad()
def best_clip(weight: Tensor, scheme: WeightScheme) -> Tensor:
    """The magnitude that the last integer code should stand for, of each scale: (O,) or (1,) for a weight (O, ...)."""
    best = largest = largest_magnitude(weight, scheme)
    smallest, none = torch.full_like(largest, torch.inf), torch.zeros((), device=weight.device)
    for index in range(CANDIDATES, 0, -1):
        clip = largest * (index / CANDIDATES)
        rounded = fake_quantize(weight, per_output(covering_scale(clip, scheme), weight), none, weight_integers(scheme))
        error = (rounded - weight).square().reshape(len(largest), -1).sum(1)
        best, smallest = torch.where(error < smallest, clip, best), smallest.minimum(error)
    return best


class ClipWeights:
    """See `best_clip`."""

    name = "clip_weights"
    when: When = "after"

    def apply(self, state: PtqState) -> None:
        """Choose the weight ranges of the quantized network."""
        for layer in state.quantized.layers():
            quantizer = weight_quantizer_of(layer)
            quantizer.clip.copy_(best_clip(layer.weight, quantizer.scheme))
        ScaleAssignment(state.quantized).assign()


register(ClipWeights())
