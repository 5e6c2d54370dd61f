"""Scales: how much one integer level is worth, for weights, biases and activations."""

import torch
from torch import Tensor

from selectq.params.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import BIAS_GRID, activation_grid, middle_level, weight_grid

SMALLEST_SCALE = 2.0**-60
"""A range of width 0 (a dead channel) still gets a scale that can be divided by."""

TIE_FREE_RESOLUTION = 512
"""A tie-free scale is at most 2 / 512 coarser than the one it replaces."""

LARGEST_TIE_FREE_DENOMINATOR = 8191
"""Every product stays at least half of 1 / 8191 of an output level away from a rounding tie."""


def weight_scale(weight: Tensor, scheme: WeightScheme) -> Tensor:
    """Scale that puts the largest magnitude on the last level: (O, 1, ...) per channel, (1, 1, ...) per tensor.

    `weight` is (O, I, kH, kW) or (O, I).
    """
    keep = 1 if scheme.granularity == "channel" else 0
    largest = weight.detach().abs().amax(dim=tuple(range(keep, weight.ndim)), keepdim=True)
    largest = largest.reshape(-1, *[1] * (weight.ndim - 1))
    return (largest / weight_grid(scheme).quant_max).clamp(min=SMALLEST_SCALE)


def activation_scale(low: Tensor, high: Tensor, scheme: ActivationScheme) -> tuple[Tensor, Tensor]:
    """Scale and zero point (scalars) whose grid covers [low, high] and holds 0 exactly."""
    grid = activation_grid(scheme)
    low, high = low.clamp(max=0), high.clamp(min=0)
    if scheme.symmetric:
        middle = middle_level(scheme)
        scale = (torch.maximum(-low, high) / (grid.quant_max - middle)).clamp(min=SMALLEST_SCALE)
        return scale, torch.full_like(scale, middle)
    scale = ((high - low) / (grid.quant_max - grid.quant_min)).clamp(min=SMALLEST_SCALE)
    return scale, (-low / scale).round().clamp(grid.quant_min, grid.quant_max)


def scale_with_room_for_bias(scale: Tensor, bias: Tensor, input_scale: Tensor) -> Tensor:
    """The weight scale (O,) or (1,), made coarser where the bias would not fit the accumulator.

    An integer layer adds its bias (O,) in levels of `input_scale` (a scalar) times the weight scale. Where that is so
    fine that the bias leaves `BIAS_GRID`, the weights are negligible beside the bias.
    """
    needed = bias.detach().abs() / (input_scale * BIAS_GRID.quant_max)  # (O,)
    return torch.maximum(scale, needed if len(scale) > 1 else needed.amax(0, keepdim=True))


def tie_free_scale(scale: Tensor, input_scale: Tensor, output_scale: Tensor) -> Tensor:
    """The weight scale, made a little coarser so that nothing the layer computes is near a rounding tie.

    An integer layer puts out its accumulator, a whole number, times `input_scale` * `scale` / `output_scale`, rounded.
    Runtimes compute this in floating point, each in its own order, and round differently wherever the product is within
    their error of a tie; one such level spreads through the layers behind. With n / d for the factor and d odd, every
    product is a multiple of 1 / d, which is never a tie and at least 1 / 2d away from one: all runtimes agree.

    Args:
        scale: of the weights, (O,) or (1,).
        input_scale, output_scale: of the stored activations (scalars).

    Returns:
        Scales of the shape of `scale`, at most 2 / `TIE_FREE_RESOLUTION` coarser; but where one accumulator level was
        worth less than 1 / `LARGEST_TIE_FREE_DENOMINATOR` of an output level, coarser until it is worth that much.
    """
    factor = input_scale * scale / output_scale
    numerator = (factor * TIE_FREE_RESOLUTION).ceil()
    largest = (numerator / factor).clamp(max=LARGEST_TIE_FREE_DENOMINATOR)
    denominator = 2 * ((largest - 1) / 2).floor() + 1
    return numerator / denominator * (output_scale / input_scale)
