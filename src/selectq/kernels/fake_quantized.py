"""A layer with fake quantization as one differentiable step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selectq.kernels.convolutions import Geometry
from selectq.quantization.fake_quantize import BIAS_INTEGERS, IntegerRange, Range, fake_quantize, weight_integers
from selectq.quantization.network import Layer, LookupNode
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.quantization.scale_assignment import quantizer_of, weight_quantizer_of

operators = torch.ops.selectq_fake_quantize


class QuantizationParameters(NamedTuple):
    """Of an activation quantizer: scale, zero point, lowest and highest integer."""

    scale: float
    zero_point: float
    quant_min: float
    quant_max: float


@dataclass
class Seen:
    """Takes the smallest and the largest value (scalars) that a step saw before quantization."""

    range: Range | None = None


class QuantizedLayer(torch.autograd.Function):
    """Convolution, bias, activation, fake quantization: (N, H, W, I) -> (N, H', W', O).

    The convolution reads the fake-quantized `codes` of the parameters. Their gradients go straight through to `weight`
    and `bias`, as `learning_parameters` gives them. What is frozen costs nothing: no gradient is computed for it, and
    no activation kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        codes: tuple[Tensor, Tensor],
        geometry: Geometry,
        stored: QuantizationParameters,
        seen: Seen,
    ) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O), on the grid."""
        if geometry.has_kernel:
            y, mask, *ends = operators.quantized_layer(x, *codes, geometry.stride[0], *stored)
        else:
            y, mask, *ends = operators.quantized_rows(geometry.convolve(x, codes[0]), codes[1], *stored)
        seen.range = (ends[0], ends[1])
        ctx.geometry, ctx.shape = geometry, x.shape
        ctx.save_for_backward(mask, x if ctx.needs_input_grad[1] else x.new_empty(0), codes[0])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, weight and bias."""
        for_input, for_weight, for_bias, *_ = ctx.needs_input_grad
        mask, x, weight = ctx.saved_tensors
        gradient, geometry = gradients[0].contiguous(), ctx.geometry
        if geometry.has_kernel:
            places = (*ctx.shape[1:3], geometry.stride[0])
            found = operators.quantized_layer_backward(gradient, mask, x, weight, *places, *ctx.needs_input_grad[:3])
            of_x, of_weight, of_bias = found
        else:
            of_raw, of_bias = operators.quantized_rows_backward(gradient, mask, for_bias)
            of_x, of_weight = geometry.gradients(of_raw, x, ctx.shape, weight, for_input, for_weight)
        asked = (of_x if for_input else None, of_weight if for_weight else None, of_bias.float() if for_bias else None)
        return *asked, *[None] * 4


class QuantizedRows(torch.autograd.Function):
    """Activation and fake quantization of what was computed elsewhere: (..., C) to the same shape."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, stored: QuantizationParameters, seen: Seen) -> Tensor:
        """(..., C) to the same shape, on the grid."""
        y, mask, *ends = operators.quantized_rows(raw, raw.new_zeros(raw.shape[-1]), *stored)
        seen.range = (ends[0], ends[1])
        ctx.save_for_backward(mask)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the raw values."""
        return operators.quantized_rows_backward(gradients[0].contiguous(), *ctx.saved_tensors, False)[0], None, None


class Table(NamedTuple):
    """An elementwise function with its fake quantization, by the integer code of its input.

    Attributes:
        scale, zero_point: of the input.
        stored, raw, slopes: for each code (codes,) what is stored, what it was before, and the derivative.
    """

    scale: float
    zero_point: float
    stored: Tensor
    raw: Tensor
    slopes: Tensor


class LookedUp(torch.autograd.Function):
    """A stored elementwise function of what has integer codes: any shape to the same shape."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Table, seen: Seen) -> Tensor:
        """Any shape, on the input's grid, to the same shape, on its own grid."""
        y, codes, *ends = operators.looked_up(x, table.scale, table.zero_point, table.stored, table.raw)
        seen.range = (ends[0], ends[1])
        ctx.save_for_backward(codes, table.slopes)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the input."""
        return operators.looked_up_backward(gradients[0].contiguous(), *ctx.saved_tensors), None, None


def tables_of(lookups: Mapping[LookupNode, ActivationQuantizer]) -> dict[LookupNode, Table]:
    """The tables of lookups, each with the quantizer of what it reads; equal functions are tabled at once."""
    groups: dict[tuple[str, IntegerRange, IntegerRange], list[LookupNode]] = {}
    for lookup, read in lookups.items():
        groups.setdefault((lookup.function, read.integers(), quantizer_of(lookup).integers()), []).append(lookup)
    tables: dict[LookupNode, Table] = {}
    for (_, integers_read, integers), group in groups.items():
        read_from = [lookups[lookup] for lookup in group]
        rows = zip(*_tabled(group, read_from, integers_read, integers), strict=True)
        for lookup, read, row in zip(group, read_from, rows, strict=True):
            tables[lookup] = Table(read.scale.item(), read.zero_point.item(), *row)
    return tables


@torch.enable_grad()
def _tabled(
    lookups: Sequence[LookupNode],
    read_from: Sequence[ActivationQuantizer],
    integers_read: IntegerRange,
    integers: IntegerRange,
) -> tuple[Tensor, Tensor, Tensor]:
    """`stored`, `raw` and `slopes` of lookups of one function, (lookups, codes), filled and differentiated by it."""
    codes = torch.arange(integers_read.quant_max + 1, dtype=torch.float32)
    values = (codes - _column(each.zero_point for each in read_from)) * _column(each.scale for each in read_from)
    own = [quantizer_of(lookup) for lookup in lookups]
    raw = lookups[0].raw(values.requires_grad_())
    scales, zero_points = _column(each.scale for each in own), _column(each.zero_point for each in own)
    stored = fake_quantize(raw, scales, zero_points, integers)
    (slopes,) = torch.autograd.grad(stored.sum(), values)
    return stored.detach(), raw.detach(), slopes


def _column(scalars: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(scalars))[:, None]


def fake_quantized_parameters(layer: Layer) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias as its `WeightQuantizer` gives them."""
    quantizer = weight_quantizer_of(layer)
    last_codes = float(weight_integers(quantizer.scheme).quant_max), float(BIAS_INTEGERS.quant_max)
    scales = quantizer.scale, quantizer.bias_scale
    result: tuple[Tensor, Tensor] = operators.quantized_parameters(layer.weight, layer.bias, *scales, *last_codes)
    return result


def learning_parameters(layer: Layer) -> tuple[Tensor, Tensor]:
    """What a `QuantizedLayer` gives the gradients of weight and bias to.

    A scale that follows its weights lets none of them saturate: these are the parameters themselves. Where a range was
    chosen, weights may: they go through the layer's `WeightQuantizer`, which gives those no gradient.
    """
    quantizer = weight_quantizer_of(layer)
    if torch.is_grad_enabled() and layer.weight.requires_grad and quantizer.clip.any():
        weight, bias = quantizer(layer.weight, layer.bias)
        return weight, bias
    return layer.weight, layer.bias
