"""Which layers the kernels know, and torch's own convolution for the rest. Images are (N, H, W, C)."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL_SIDES = (3, 5)
"""Of depthwise filters."""


class Geometry(NamedTuple):
    """How a layer's weight is laid over its input."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    has_kernel: bool

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """torch's own convolution, without bias: (N, H, W, I) -> (N, H', W', O)."""
        raw = F.conv2d(_images(x), weight, None, self.stride, self.padding, 1, self.groups)
        return _rows(raw)

    def gradients(
        self, of_raw: Tensor, x: Tensor, shape: torch.Size, weight: Tensor, for_input: bool, for_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of `convolve`, for input and weight, where asked for. `x`, of `shape`, is only read for the weight's."""
        images = _images(x if for_weight else x.new_empty(shape))
        by_columns = for_weight and self._has_few_positions(of_raw, weight)
        places = (self.stride, self.padding, (1, 1), False, (0, 0), self.groups)
        asked = (for_input, for_weight and not by_columns, False)
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(_images(of_raw), images, weight, None, *places, asked)
        if by_columns:
            of_weight = self._weight_gradient(of_raw, x, weight)
        return _rows(of_x) if for_input else None, of_weight

    def _has_few_positions(self, of_raw: Tensor, weight: Tensor) -> bool:
        """Whether an image has fewer outputs than the filter has taps: then torch is ten times as slow as a product."""
        return self.groups == 1 and of_raw.shape[1] * of_raw.shape[2] < weight.shape[2] * weight.shape[3]

    def _weight_gradient(self, of_raw: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """As a product of the outputs' gradients and of what each output reads: (O, I, kH, kW)."""
        (height, width), channels = weight.shape[2:], x.shape[3]
        padded = F.pad(x, (0, 0, *[self.padding[1]] * 2, *[self.padding[0]] * 2))
        windows = padded.unfold(1, height, self.stride[0]).unfold(2, width, self.stride[1])  # (N, H', W', I, kH, kW)
        read = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, height * width * channels)
        found = of_raw.flatten(0, 2).t() @ read
        return found.view(-1, height, width, channels).permute(0, 3, 1, 2)


POINTWISE = Geometry((1, 1), (0, 0), 1, has_kernel=True)
"""Of a fully connected layer, too."""


class Convolution(Protocol):
    """A module, or a node of a quantized network, that convolves without dilation."""

    stride: Any
    padding: Any
    groups: int

    @property
    def weight(self) -> Tensor:
        """(O, I, kH, kW)."""


def geometry_of(layer: Convolution) -> Geometry:
    """How a convolution's weight is laid over its input."""
    stride, padding = _pair(layer.stride), _pair(layer.padding)
    return Geometry(stride, padding, layer.groups, _has_kernel(layer, stride, padding))


def _has_kernel(layer: Convolution, stride: tuple[int, int], padding: tuple[int, int]) -> bool:
    """Whether a layer is pointwise with stride 1, or depthwise with a known side, padded by half of it."""
    outputs, inputs, height, width = layer.weight.shape
    if (height, width) == (1, 1):
        return layer.groups == 1 and stride == (1, 1) and padding == (0, 0)
    square = height == width and stride[0] == stride[1] and padding == (height // 2, height // 2)
    return height in KERNEL_SIDES and inputs == 1 and layer.groups == outputs and square


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple), f"{value}: padding by name is no geometry that the graph knows"
    return value


def _images(rows: Tensor) -> Tensor:
    return rows.permute(0, 3, 1, 2)


def _rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous()
