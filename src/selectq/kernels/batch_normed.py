"""A layer with batch norm, in training mode, as one differentiable step."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from selectq.graph.bounds import Bounds

operators = torch.ops.selectq_batch_norm


class Normalisation(NamedTuple):
    """Batch norm and activation function per channel: clamp(raw * factor + offset, low, high)."""

    factor: Tensor  # (O,)
    offset: Tensor  # (O,)
    low: float
    high: float


class _Normalised:
    """A batch's normalisation, kept from the forward to the backward pass."""

    def __init__(self, sums: tuple[Tensor, Tensor], raw: Tensor, norm: nn.BatchNorm2d, bounds: Bounds) -> None:
        """Moves `norm`'s running statistics. `sums` are those of `raw` (N, H, W, O) and of its square."""
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        self._count = raw.numel() // raw.shape[3]
        self._weight = norm.weight.detach()
        running = (norm.running_mean, norm.running_var, norm.momentum, norm.eps)
        fit = operators.batch_norm_fit(*sums, self._count, self._weight, norm.bias.detach(), *running)
        self._mean, self._inverse_deviation, factor, offset = fit
        self.norm = Normalisation(factor, offset, bounds.low, bounds.high)

    def of(self, raw: Tensor) -> Tensor:
        """What batch norm and activation make of `raw`; what follows may change it in place."""
        result: Tensor = operators.normalise(raw, *self.norm)
        return result.detach()  # a part of a larger one, which autograd would not have changed

    def sums(self, gradient: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Per channel, of the activation's gradient, and of its product with the raw output: (O,) each."""
        result: tuple[Tensor, Tensor] = operators.batch_norm_sums(gradient, raw, *self.norm)
        return result

    def gradients(self, sums: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of weight and bias (O,), and the coefficients (3, O) of the raw output's gradient."""
        moments = (self._mean, self._inverse_deviation, self._weight, self._count)
        result: tuple[Tensor, Tensor, Tensor] = operators.batch_norm_coefficients(*sums, *moments)
        return result


class NormalisedLayer(torch.autograd.Function):
    """Convolution, batch norm, activation: (N, H, W, I) -> (N, H', W', O). `norm`'s running statistics move."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        stride: int,
        norm: nn.BatchNorm2d,
        bounds: Bounds,
    ) -> Tensor:
        """`norm_weight` and `norm_bias` are `norm`'s, as arguments that can be differentiated for."""
        raw, *sums = operators.raw_layer(x, weight, stride)
        ctx.normalised, ctx.stride = _Normalised((sums[0], sums[1]), raw, norm, bounds), stride
        ctx.save_for_backward(x, weight, raw)
        return ctx.normalised.of(raw)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, weight, and the batch norm's weight and bias."""
        x, weight, raw = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_norm_weight, of_norm_bias, coefficients = ctx.normalised.gradients(ctx.normalised.sums(gradient, raw))
        parts = (gradient, raw, *ctx.normalised.norm, coefficients, x, weight, ctx.stride)
        of_x, of_weight, _ = operators.normalised_layer_backward(*parts)
        return of_x, of_weight, of_norm_weight, of_norm_bias, None, None, None


class NormalisedPair(torch.autograd.Function):
    """A pointwise and a depthwise convolution, each with batch norm and activation: (N, H, W, I) -> (N, H', W', O).

    What lies between them, a block's largest tensor, is never stored: the second reads the first's raw output.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        norm_weight1: Tensor,
        norm_bias1: Tensor,
        weight2: Tensor,
        norm_weight2: Tensor,
        norm_bias2: Tensor,
        norms: tuple[nn.BatchNorm2d, nn.BatchNorm2d],
        bounds: tuple[Bounds, Bounds],
        stride: int,
    ) -> Tensor:
        """The norms' weights and biases are arguments so that they can be differentiated for."""
        raw1, *sums = operators.raw_layer(x, weight1, 1)
        ctx.first = _Normalised((sums[0], sums[1]), raw1, norms[0], bounds[0])
        raw2, *sums = operators.raw_layer_of_raw(raw1, *ctx.first.norm, weight2, stride)
        ctx.second, ctx.stride = _Normalised((sums[0], sums[1]), raw2, norms[1], bounds[1]), stride
        ctx.save_for_backward(x, weight1, raw1, weight2, raw2)
        return ctx.second.of(raw2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, and of each convolution's weight and batch norm's weight and bias."""
        x, weight1, raw1, weight2, raw2 = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        *of_norm2, coefficients = ctx.second.gradients(ctx.second.sums(gradient, raw2))
        after = (gradient, raw2, *ctx.second.norm, coefficients)
        between, of_weight2, *sums = operators.normalised_layer_of_raw_backward(
            *after, raw1, *ctx.first.norm, weight2, ctx.stride
        )
        *of_norm1, coefficients = ctx.first.gradients((sums[0], sums[1]))
        before = (between, raw1, *ctx.first.norm, coefficients)
        of_x, of_weight1, _ = operators.normalised_layer_backward(*before, x, weight1, 1)
        return of_x, of_weight1, *of_norm1, of_weight2, *of_norm2, None, None, None


class NormalisedRows(torch.autograd.Function):
    """Batch norm and activation of what was convolved elsewhere: (N, H, W, C) to the same shape."""

    @staticmethod
    def forward(
        ctx: Any, raw: Tensor, norm_weight: Tensor, norm_bias: Tensor, norm: nn.BatchNorm2d, bounds: Bounds
    ) -> Tensor:
        """`norm_weight` and `norm_bias` are `norm`'s, as arguments that can be differentiated for."""
        ctx.normalised = _Normalised(operators.raw_statistics(raw), raw, norm, bounds)
        ctx.save_for_backward(raw)
        return ctx.normalised.of(raw)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the raw values, and of the batch norm's weight and bias."""
        (raw,) = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_norm_weight, of_norm_bias, coefficients = ctx.normalised.gradients(ctx.normalised.sums(gradient, raw))
        of_raw = operators.normalised_rows_backward(gradient, raw, *ctx.normalised.norm, coefficients)
        return of_raw, of_norm_weight, of_norm_bias, None, None
