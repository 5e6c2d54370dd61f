"""Batch-norm statistics measured again behind rounded weights, which shift and stretch what the float weights put out.

Sun et al. 2019 ("Hybrid 8-bit Floating Point (HFP8) Training and Inference for Deep Neural Networks", section 3.3);
Nagel et al. 2022 ("Overcoming Oscillations in Quantization-Aware Training", section 4.1) use it after training.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.params.configs import WeightScheme
from selectq.quantization.fake_quantize import fake_quantize, weight_grid
from selectq.quantization.repairs.layers import (
    folded_weight,
    folding_factor,
    normalised_convolutions,
    running_statistics,
)
from selectq.quantization.scales import weight_scale


@torch.no_grad()
def reestimate_batch_norm(model: MobileNetV2, scheme: WeightScheme, batches: Iterable[Tensor]) -> None:
    """Replace every batch norm's running statistics, in place, by the mean over batches of what its layer puts out.

    Args:
        model: the FP32 network, in evaluation mode. Its weights stay: it is to be folded and rounded.
        scheme: of the rounding. With a scale per channel, folding the new statistics scales the rounded weights and
            their rounding error alike, and what was measured holds. With one per tensor, the weights round anew.
        batches: float (B, 3, H, W).
    """
    rounded = copy.deepcopy(model)
    pairs = list(zip(normalised_convolutions(model), normalised_convolutions(rounded), strict=True))
    for (convolution, norm), (its_convolution, its_norm) in pairs:
        its_convolution.weight.copy_(rounded_weight(convolution, norm, scheme))
        its_norm.reset_running_stats()
        its_norm.momentum = None  # the plain mean over the batches
        its_norm.train()  # and nothing else: dropout stays off
    for batch in batches:
        rounded(batch)
    for (_, norm), (_, its_norm) in pairs:
        _take_over(norm, its_norm)


def rounded_weight(convolution: nn.Conv2d, norm: nn.BatchNorm2d, scheme: WeightScheme) -> Tensor:
    """The convolution's weight, rounded as it is when the batch norm is folded into it; same shape."""
    factor, folded = folding_factor(norm)[:, None, None, None], folded_weight(convolution, norm)
    scale = weight_scale(folded, scheme)
    levels = fake_quantize(folded, scale, torch.zeros_like(scale), weight_grid(scheme))
    return torch.where(factor == 0, 0.0, levels / factor).to(convolution.weight)


def _take_over(norm: nn.BatchNorm2d, measured: nn.BatchNorm2d) -> None:
    for own, new in zip(running_statistics(norm), running_statistics(measured), strict=True):
        own.copy_(new)
