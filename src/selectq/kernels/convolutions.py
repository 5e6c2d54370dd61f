"""Which convolutions the kernels know, and torch's own for the rest. Images are (N, H, W, C)."""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Convolves(Protocol):
    """The attributes that `nn.Conv2d` and `ConvNode` share."""

    groups: int

    @property
    def weight(self) -> Tensor:
        """(O, I / groups, kH, kW)."""

    @property
    def stride(self) -> tuple[int, ...]:
        """For rows and columns."""

    @property
    def padding(self) -> tuple[int, ...] | str:
        """For rows and columns."""


def has_kernel(layer: Convolves) -> bool:
    """Whether a layer is pointwise with stride 1, or depthwise, 3 x 3 with padding 1."""
    outputs, inputs, *size = layer.weight.shape
    if size == [1, 1]:
        return layer.groups == 1 and tuple(layer.stride) == (1, 1) and tuple(layer.padding) == (0, 0)
    square = layer.stride[0] == layer.stride[1] and tuple(layer.padding) == (1, 1)
    return size == [3, 3] and inputs == 1 and layer.groups == outputs and square


def convolve(x: Tensor, weight: Tensor, layer: Convolves) -> Tensor:
    """torch's own convolution with a layer's geometry, without bias: (N, H, W, I) -> (N, H', W', O)."""
    raw = F.conv2d(x.permute(0, 3, 1, 2), weight, None, layer.stride, layer.padding, 1, layer.groups)
    return raw.permute(0, 2, 3, 1).contiguous()
