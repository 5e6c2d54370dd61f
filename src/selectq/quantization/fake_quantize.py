"""Fake quantization: rounding to an integer grid in floating point, with a straight-through gradient.

Jacob et al. 2018 (arXiv:1712.05877, eq. 12) for the forward pass; Bengio et al. 2013 for the gradient.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selectq.config.configs import ActivationScheme, WeightScheme

Range = tuple[Tensor, Tensor]
"""The lowest and the highest value (scalars) that a quantizer should represent."""


def extremes(x: Tensor) -> Range:
    """The smallest and the largest of the values of `x`, scalars.

    Read as they lie in memory: torch looks through channels last in another order, seven times as slowly.
    """
    return torch.aminmax(x.flatten() if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten())


@dataclass(frozen=True)
class IntegerRange:
    """The integer range of a quantizer, both ends included."""

    quant_min: int
    quant_max: int


BIAS_INTEGERS = IntegerRange(-(2**30), 2**30)
"""Half of what int32 holds: the rest is left for the sum of products."""


def weight_integers(scheme: WeightScheme) -> IntegerRange:
    """[-127, 127] at 8 bits: symmetric, so that zero is a level and a weight's negative is as exact as itself."""
    largest = 2 ** (_width(scheme) - 1) - 1
    return IntegerRange(-largest, largest)


def activation_integers(scheme: ActivationScheme) -> IntegerRange:
    """[0, 255] at 8 bits; a symmetric range uses it with the zero point in the middle."""
    assert isinstance(scheme.symmetric, bool), f"{scheme} is that of many nodes: `of` gives a node's own"
    return IntegerRange(0, 2 ** _width(scheme) - 1)


def middle_code(scheme: ActivationScheme) -> int:
    """The zero point of a symmetric range: 128 at 8 bits."""
    return 2 ** (_width(scheme) - 1)


def _width(scheme: WeightScheme | ActivationScheme) -> int:
    assert isinstance(scheme.bits, int), f"{scheme} is that of many layers: `of` gives a layer's own"
    return scheme.bits


class _FakeQuantize(torch.autograd.Function):
    """Saves its input, not a mask: recomputing the mask is cheaper than storing it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, integers: IntegerRange) -> Tensor:
        ctx.save_for_backward(x, scale, zero_point)
        ctx.integers = integers
        # the last one not in place: compiled by torch 2.11, what such an operation returns has a gradient of 0
        return to_codes(x, scale, zero_point, integers).sub_(zero_point).mul(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, scale, zero_point = ctx.saved_tensors
        level = _unclamped_code(x, scale, zero_point)
        # the clamp's own backward in one fused operation; masks of booleans take ten times as long on a CPU
        ends = (ctx.integers.quant_min - 0.5, ctx.integers.quant_max + 0.5)
        return torch.ops.aten.hardtanh_backward(gradients[0], level, *ends), None, None, None


def _unclamped_code(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.mul(x, scale.reciprocal()).round_().add_(zero_point)


def to_codes(x: Tensor, scale: Tensor, zero_point: Tensor, integers: IntegerRange) -> Tensor:
    """The codes, as whole numbers in floating point, that stand for `x`: nearest, half to even, saturating.

    The arguments are those of `fake_quantize`.
    """
    return _unclamped_code(x, scale, zero_point).clamp_(integers.quant_min, integers.quant_max)


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, integers: IntegerRange) -> Tensor:
    """Round `x` to the nearest representable value; half to even, saturating.

    Args:
        x: any shape, float32.
        scale: float32, positive, broadcastable to `x` (a scalar, or (O, 1, 1, 1) per output channel).
        zero_point: a whole number in float32 or int32, of `scale`'s shape; the level that stands for 0.
        integers: the range of codes.

    Returns:
        The quantized values, shape of `x`. The gradient passes to `x` unchanged where the level is on the grid
        and is 0 where it saturates; scale and zero point get none.
    """
    if x.is_cuda and scale.numel() == 1 and not torch.compiler.is_compiling():
        return fake_quantize_fused(x, scale, zero_point, integers)
    return _FakeQuantize.apply(x, scale, zero_point, integers)


def fake_quantize_fused(x: Tensor, scale: Tensor, zero_point: Tensor, integers: IntegerRange) -> Tensor:
    """`fake_quantize` with one scale for all of `x`, by torch's own operator: a GPU passes over the memory once."""
    scale, level = scale.reshape(()), zero_point.reshape(()).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, level, integers.quant_min, integers.quant_max)


def fake_quantize_channels(x: Tensor, scale: Tensor, integers: IntegerRange) -> Tensor:
    """`fake_quantize` of a weight (O, ...) with a scale for each output channel (O,) and 0 for zero point, likewise."""
    none = torch.zeros_like(scale)  # of integers the operator would ask the GPU for their extremes, and wait
    return torch.fake_quantize_per_channel_affine(x, scale, none, 0, integers.quant_min, integers.quant_max)
