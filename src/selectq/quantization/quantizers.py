"""The modules that put fake quantization into a fused network."""

import torch
from torch import Tensor, nn

from selectq.params.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import (
    Grid,
    activation_grid,
    activation_scale,
    fake_quantize,
    weight_grid,
    weight_scale,
)
from selectq.quantization.fused import Bounds


class WeightQuantizer(nn.Module):
    """Symmetric weights; the scale follows the weights as they learn."""

    def __init__(self, scheme: WeightScheme) -> None:
        super().__init__()
        self.scheme = scheme

    def forward(self, weight: Tensor) -> Tensor:
        """(O, I, kH, kW) or (O, I) to the same shape, on the grid."""
        scale = weight_scale(weight, self.scheme)
        return fake_quantize(weight, scale, torch.zeros_like(scale), weight_grid(self.scheme))


class ActivationQuantizer(nn.Module):
    """Per-tensor activations with the activation function fused: clamping to it is clamping on the grid.

    Attributes:
        low, high: the range (scalar buffers), within `bounds`.
        averaging: weight of a training batch's range in the moving average; 0 keeps the range fixed.
    """

    low: Tensor
    high: Tensor

    def __init__(self, scheme: ActivationScheme, bounds: Bounds, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        self.bounds = bounds
        self.averaging = 0.0
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, on the grid."""
        if self.training and self.averaging:
            self._follow(x.detach())
        scale, zero_point = self.scale_and_zero_point()
        return fake_quantize(x, scale, zero_point, self.grid())

    def scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        """Scalars, float32; the zero point is a whole number."""
        return activation_scale(self.low, self.high, self.scheme)

    def grid(self) -> Grid:
        """The levels that the fused activation function can reach: none below the zero point after a ReLU."""
        grid = activation_grid(self.scheme)
        if self.bounds.low < 0:
            return grid
        return Grid(2 ** (self.scheme.bits - 1) if self.scheme.symmetric else 0, grid.quant_max)

    def _follow(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        low, high = (end.clamp(self.bounds.low, self.bounds.high) for end in (low, high))
        self.low.lerp_(low, self.averaging)
        self.high.lerp_(high, self.averaging)
