"""The fake-quantization modules of a fused network."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from selectq.data.augment import PIXEL_SCALE
from selectq.networks.activations import Bounds
from selectq.params.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import (
    BIAS_GRID,
    Grid,
    Range,
    activation_grid,
    extremes,
    fake_quantize,
    middle_level,
    to_levels,
    weight_grid,
)
from selectq.quantization.fused import FusedLayer, Place
from selectq.quantization.scales import (
    activation_scale,
    activation_zero_point,
    multiple_of_unit,
    odd_multiple_of_unit,
    scale_with_room_for_bias,
    tie_free_scale,
    weight_scale,
)


class ActivationQuantizer(nn.Module):
    """Per-tensor activations with the activation function fused: clamping to it is clamping on the grid.

    Attributes:
        low, high: the range (scalar buffers), within `bounds`.
        observing: whether training batches are to leave their range in `seen`.
        seen: the smallest and largest value (scalars) of the last batch observed, until `follow` takes it.
        prepared: scale and zero point, where they were computed elsewhere for this pass; see `network_scales`.
    """

    low: Tensor
    high: Tensor

    def __init__(self, scheme: ActivationScheme, bounds: Bounds, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        self.bounds = bounds
        self.observing = False
        self.seen: Range | None = None
        self.prepared: tuple[Tensor, Tensor] | None = None
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, on the grid."""
        if self.training and self.observing:
            self.seen = extremes(x.detach())
        scale, zero_point = self.prepared or self.scale_and_zero_point()
        return fake_quantize(x, scale, zero_point, self.grid())

    def scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        """Scalars, float32; the zero point is a whole number."""
        scale = self.scale()
        return scale, activation_zero_point(self.low, scale, self.scheme)

    def scale(self) -> Tensor:
        """A scalar, float32."""
        return activation_scale(self.low, self.high, self.scheme)

    def grid(self) -> Grid:
        """The integers that the fused activation function can reach: none below the zero point after a ReLU."""
        grid = activation_grid(self.scheme)
        if self.bounds.low < 0:
            return grid
        return Grid(middle_level(self.scheme) if self.scheme.symmetric else 0, grid.quant_max)


def follow(quantizers: Iterable[ActivationQuantizer], averaging: float) -> None:
    """Move the ranges towards what the last batch showed, by a moving average that gives it the weight `averaging`.

    Between steps, so that within a step every layer knows the scales that its neighbours really use. Those with the
    same bounds move together: one by one, a GPU would spend more on starting the operations than on doing them.
    """
    groups: dict[Bounds, list[ActivationQuantizer]] = {}
    for quantizer in quantizers:
        if quantizer.seen is not None:
            groups.setdefault(quantizer.bounds, []).append(quantizer)
    for bounds, group in groups.items():
        lows, highs = zip(*(quantizer.seen for quantizer in group if quantizer.seen is not None), strict=True)
        ends = [quantizer.low for quantizer in group] + [quantizer.high for quantizer in group]
        seen = torch.stack([*lows, *highs]).clamp(bounds.low, bounds.high)
        torch._foreach_lerp_(ends, list(seen.unbind()), averaging)
        for quantizer in group:
            quantizer.seen = None


class SummandQuantizer(ActivationQuantizer):
    """Quantizes a summand of a residual sum. All scales that meet in a sum are whole multiples of one unit."""

    unit: Tensor

    def __init__(self, scheme: ActivationScheme, bounds: Bounds, low: Tensor, high: Tensor, unit: float) -> None:
        super().__init__(scheme, bounds, low, high)
        self.register_buffer("unit", torch.full_like(self.low, unit))

    def scale(self) -> Tensor:
        """A scalar, float32, of few significant bits: sums of such values are exact."""
        return multiple_of_unit(super().scale(), self.unit)


class SumQuantizer(SummandQuantizer):
    """Quantizes the output of a residual sum, which may be a summand of the next."""

    def scale(self) -> Tensor:
        """A scalar, float32, at which no sum is near a rounding tie."""
        return odd_multiple_of_unit(ActivationQuantizer.scale(self), self.unit)


class LayerQuantizer(nn.Module):
    """A layer's weight fake-quantizer: parameters become whole multiples of a scale that follows the weights.

    The scale is free of rounding ties at the layer's output. The bias is added to the accumulator, so its scale
    is the input's scale times the weight's.
    """

    def __init__(self, scheme: WeightScheme, layer: FusedLayer, source: Place | None) -> None:
        super().__init__()
        self.scheme = scheme
        self.prepared: tuple[Tensor, Tensor] | None = None  # what `forward` gives, see `network_scales`
        self._places = (source, layer if isinstance(layer, Place) else None)  # in a tuple: they are no submodules

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(O, I, kH, kW) or (O, I), and (O,), to the same shapes, on their grids."""
        if self.prepared is not None:
            return self.prepared
        (scale, bias_scale), none = self.scales(weight, bias), torch.zeros((), device=bias.device)
        return (
            fake_quantize(weight, per_output(scale, weight), none, weight_grid(self.scheme)),
            fake_quantize(bias, bias_scale, none, BIAS_GRID),
        )

    def levels(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The integer codes of weight and bias, in floating point, of the same shapes."""
        (scale, bias_scale), none = self.scales(weight, bias), torch.zeros((), device=bias.device)
        return (
            to_levels(weight, per_output(scale, weight), none, weight_grid(self.scheme)),
            to_levels(bias, bias_scale, none, BIAS_GRID),
        )

    def scales(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The scales of the weight and of the bias, (O,) each, or (1,) where the scheme has one scale per tensor."""
        input_scale, output_scale = self.neighbour_scales()
        input_scale = input_scale.to(bias)
        scale = self.covering_scale(weight, bias, input_scale)
        if output_scale is not None:
            scale = tie_free_scale(scale, input_scale, output_scale)
        return scale, scale * input_scale

    def neighbour_scales(self) -> tuple[Tensor, Tensor | None]:
        """The scales (scalars) of what the layer reads and of what it stores; None where that is not quantized."""
        source, output = self._places
        return stored_scale(source), None if output is None else stored_scale(output)

    def covering_scale(self, weight: Tensor, bias: Tensor, input_scale: Tensor) -> Tensor:
        """The smallest scale of the weight, (O,) or (1,), at which neither weight nor bias saturates."""
        scale = weight_scale(weight, self.scheme).flatten()
        return scale_with_room_for_bias(scale, bias, input_scale)


def per_output(scale: Tensor, weight: Tensor) -> Tensor:
    """Scales (O,) or (1,) in a shape that broadcasts over the output channels of a weight (O, ...)."""
    return scale.view(-1, *[1] * (weight.ndim - 1))


def stored_scale(place: Place | None) -> Tensor:
    """The scale (scalar) of what a quantized place stores; None stands for the pixels."""
    if place is None:
        return torch.tensor(PIXEL_SCALE)
    assert isinstance(place.activation, ActivationQuantizer), f"{place.name} is not quantized"
    return place.activation.scale()
