"""A layer with fake quantization as one differentiable step."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selectq.quantization.fake_quantize import BIAS_GRID, Range, weight_grid
from selectq.quantization.network import Layer
from selectq.quantization.scale_assignment import weight_quantizer_of

operators = torch.ops.selectq_fake_quantize


class StoredGrid(NamedTuple):
    """The quantization parameters of a place: scale, zero point, lowest and highest integer."""

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

    The convolution reads the fake-quantized `levels` of the parameters. Their gradients go straight through to `weight`
    and `bias`: a scale that follows its weights lets none of them saturate.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        levels: tuple[Tensor, Tensor],
        stride: int,
        grid: StoredGrid,
        seen: Seen,
    ) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O), on the grid."""
        y, mask, *ends = operators.quantized_layer(x, *levels, stride, *grid)
        seen.range = (ends[0], ends[1])
        ctx.geometry = (x.shape[1], x.shape[2], stride)
        ctx.save_for_backward(mask, x if ctx.needs_input_grad[1] else x.new_empty(0), levels[0])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, weight and bias."""
        for_input, for_weight, *_ = ctx.needs_input_grad
        parts = (gradients[0].contiguous(), *ctx.saved_tensors, *ctx.geometry, for_input, for_weight)
        of_x, of_weight, of_bias = operators.quantized_layer_backward(*parts)
        return of_x if for_input else None, of_weight if for_weight else None, of_bias.float(), *[None] * 4


class QuantizedRows(torch.autograd.Function):
    """Bias, activation and fake quantization of what was computed elsewhere: (N, H, W, C) to the same shape."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, bias: Tensor, levels: Tensor, grid: StoredGrid, seen: Seen) -> Tensor:
        """(N, H, W, C) to the same shape, on the grid; `levels` are the bias's."""
        y, mask, *ends = operators.quantized_rows(raw, levels, *grid)
        seen.range = (ends[0], ends[1])
        ctx.save_for_backward(mask)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the raw values and of the bias."""
        of_raw, of_bias = operators.quantized_rows_backward(gradients[0].contiguous(), *ctx.saved_tensors)
        return of_raw, of_bias.float(), None, None, None


class StraightThrough(torch.autograd.Function):
    """A parameter's levels, with a gradient that goes straight through to the parameter."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, levels: Tensor) -> Tensor:
        """The levels."""
        return levels.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient, unchanged."""
        return gradients[0], None


def fake_quantized_parameters(layer: Layer) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias as its `WeightQuantizer` gives them."""
    quantizer = weight_quantizer_of(layer)
    last_levels = float(weight_grid(quantizer.scheme).quant_max), float(BIAS_GRID.quant_max)
    scales = quantizer.scale, quantizer.bias_scale
    result: tuple[Tensor, Tensor] = operators.quantized_parameters(layer.weight, layer.bias, *scales, *last_levels)
    return result
