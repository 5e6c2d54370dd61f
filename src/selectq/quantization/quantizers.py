"""The modules that put fake quantization into a fused network."""

import torch
from torch import Tensor, nn

from selectq.data.augment import PIXEL_SCALE
from selectq.params.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import (
    LARGEST_BIAS_LEVEL,
    Grid,
    activation_grid,
    activation_scale,
    fake_quantize,
    scale_with_room_for_bias,
    weight_grid,
    weight_scale,
)
from selectq.quantization.fused import Bounds, FusedLayer, Place


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


class BiasQuantizer(nn.Module):
    """A bias as the integer program adds it: in whole levels of the accumulator, input scale times weight scale."""

    def __init__(self, scheme: WeightScheme, layer: FusedLayer, source: Place | None) -> None:
        super().__init__()
        self.scheme = scheme
        self._reads = (layer, source)  # in a tuple, so that they are no submodules of this one

    def forward(self, bias: Tensor) -> Tensor:
        """(O,) to the same shape, on the grid."""
        layer, source = self._reads
        input_scale = stored_scale(source).to(bias)
        scale = scale_with_room_for_bias(weight_scale(layer.weight, self.scheme).flatten(), bias, input_scale)
        levels = Grid(-LARGEST_BIAS_LEVEL, LARGEST_BIAS_LEVEL)
        return fake_quantize(bias, scale * input_scale, torch.zeros_like(scale), levels)


def stored_scale(place: Place | None) -> Tensor:
    """The scale (scalar) of what a quantized place stores; None stands for the pixels."""
    if place is None:
        return torch.tensor(PIXEL_SCALE)
    assert isinstance(place.activation, ActivationQuantizer), f"{place.name} is not quantized"
    return place.activation.scale_and_zero_point()[0]
