"""The fake-quantization modules of a network. They hold their parameters; `scale_assignment` sets them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from selectq.config.configs import ActivationScheme, WeightScheme
from selectq.graph.bounds import Bounds
from selectq.quantization.fake_quantize import (
    BIAS_INTEGERS,
    IntegerRange,
    Range,
    activation_integers,
    extremes,
    fake_quantize,
    fake_quantize_channels,
    middle_code,
    to_codes,
    weight_integers,
)

GATE_SCALES = {"hard_swish": 1 / 255, "silu": 1 / 256}
"""Of one integer step of a lookup's gate. That of a hard-sigmoid reaches 1; runtimes' integer sigmoids have 1 / 256."""


class ActivationQuantizer(nn.Module):
    """Per-tensor activations with the activation function fused: clamping to it is clamping on the grid.

    Attributes:
        low, high: the range (scalar buffers), within `bounds`.
        scale, zero_point: the quantization parameters (scalar buffers, float32; the zero point is a whole number).
        observing: whether training batches are to leave their range in `seen`.
        seen: the smallest and largest value (scalars) of the last batch observed, until `follow` takes it.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, scheme: ActivationScheme, bounds: Bounds, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        self.bounds = bounds
        self.observing = False
        self.seen: Range | None = None
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())
        self.register_buffer("scale", torch.ones_like(self.low))
        self.register_buffer("zero_point", torch.zeros_like(self.low))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, on the grid."""
        if self.training and self.observing:
            self.seen = extremes(x.detach())
        return fake_quantize(x, self.scale, self.zero_point, self.integers())

    def integers(self) -> IntegerRange:
        """The integers that the fused activation function can reach: none below the zero point after a ReLU."""
        integers = activation_integers(self.scheme)
        if self.bounds.low < 0:
            return integers
        return IntegerRange(middle_code(self.scheme) if self.scheme.symmetric else 0, integers.quant_max)


class GateQuantizer(nn.Module):
    """Quantizes the gate of a lookup: numbers from 0 to 1, always in 8 bits.

    Attributes:
        scale: of one integer step (a number).
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, gate: Tensor) -> Tensor:
        """Any shape to the same shape, on the grid."""
        return fake_quantize(gate, gate.new_tensor(self.scale), gate.new_zeros(()), IntegerRange(0, 255))


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


class WeightQuantizer(nn.Module):
    """A layer's weight fake-quantizer: parameters become whole multiples of a scale.

    Attributes:
        clip: the magnitude that the last integer code stands for, where an algorithm has chosen it, (O,) or (1,); where
            it is 0, that of the largest weight.
        scale: of the weight, (O,) or (1,).
        bias_scale: of the bias, which is added to the accumulator: that of the input times the weight's.
    """

    clip: Tensor
    scale: Tensor
    bias_scale: Tensor

    def __init__(self, scheme: WeightScheme, bias: Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        count = len(bias) if scheme.granularity == "channel" else 1
        self.register_buffer("clip", torch.zeros(count, device=bias.device))
        self.register_buffer("scale", torch.ones(count, device=bias.device))
        self.register_buffer("bias_scale", torch.ones(count, device=bias.device))

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(O, I, kH, kW) or (O, I), and (O,), to the same shapes, on their grids."""
        none = torch.zeros((), device=bias.device)
        return self._rounded(weight, none), fake_quantize(bias, self.bias_scale, none, BIAS_INTEGERS)

    def _rounded(self, weight: Tensor, none: Tensor) -> Tensor:
        integers = weight_integers(self.scheme)
        if weight.is_cuda and len(self.scale) > 1:  # one launch in place of five
            return fake_quantize_channels(weight, self.scale, integers)
        return fake_quantize(weight, per_output(self.scale, weight), none, integers)

    def codes(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The integer codes of weight and bias, in floating point, of the same shapes."""
        none = torch.zeros((), device=bias.device)
        return (
            to_codes(weight, per_output(self.scale, weight), none, weight_integers(self.scheme)),
            to_codes(bias, self.bias_scale, none, BIAS_INTEGERS),
        )


def per_output(scale: Tensor, weight: Tensor) -> Tensor:
    """Scales (O,) or (1,) in a shape that broadcasts over the output channels of a weight (O, ...)."""
    return scale.view(-1, *[1] * (weight.ndim - 1))
