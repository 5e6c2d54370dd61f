"""The FP32 network's convolutions, each with the batch norm behind it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2

NormalisedConv = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution, and the batch norm of its output."""


def normalised_convolutions(model: MobileNetV2) -> Iterator[NormalisedConv]:
    """Every convolution with its batch norm, in network order."""
    modules = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    for convolution, norm in zip(modules[::2], modules[1::2], strict=True):
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        yield convolution, norm


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The running mean and variance, (O,) each: the buffers themselves."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def folded_weight(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """The convolution's weight with the batch norm folded in, (O, I / groups, kH, kW), in double precision."""
    return convolution.weight.detach().double() * folding_factor(norm)[:, None, None, None]


def folding_factor(norm: nn.BatchNorm2d) -> Tensor:
    """The factor by which folding multiplies each output channel's weights, (O,), in double precision."""
    _, variance = running_statistics(norm)
    return norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)


def output_spread(norm: nn.BatchNorm2d) -> Tensor:
    """The standard deviation of what each channel of a batch norm puts out, (C,), in double precision."""
    _, variance = running_statistics(norm)
    variance = variance.double()
    return norm.weight.detach().double().abs() * torch.sqrt(variance / (variance + norm.eps))
