"""Scales: the value of one integer step, for weights, biases and activations."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from selectq.config.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import BIAS_INTEGERS, activation_integers, middle_code, weight_integers

SMALLEST_SCALE = 2.0**-60
"""Weights of 0 (a dead channel) still get a scale that can be divided by."""

WIDTH_OF_NOTHING = 1.0
"""The width given to the range of a layer that puts out only 0: runtimes refuse scales of next to nothing."""

TIE_FREE_RESOLUTION = 512
"""A tie-free scale is at most 2 / 512 coarser than the one it replaces."""

LARGEST_TIE_FREE_DENOMINATOR = 8191
"""Every product stays at least half of 1 / 8191 of an output level away from a rounding tie, less what float32 rounds:
at most 256 * 2 ** -23 of a level, half of that distance."""

LOOKUP_MARGIN = 2.0**-12
"""How far, in integer steps, a sigmoid of any integer code stays away from a rounding tie: runtimes differ by less."""

UNITS = 256
"""How many units, at least, make up a scale."""


def weight_scale(weight: Tensor, scheme: WeightScheme) -> Tensor:
    """Scale that puts the largest magnitude on the last integer: (O, 1, ...) per channel, (1, 1, ...) per tensor.

    `weight` is (O, I, kH, kW) or (O, I).
    """
    return covering_scale(largest_magnitude(weight, scheme).view(-1, *[1] * (weight.ndim - 1)), scheme)


def largest_magnitude(weight: Tensor, scheme: WeightScheme) -> Tensor:
    """The largest magnitude among the weights that share a scale: (O,) or (1,) for a weight (O, ...)."""
    keep = 1 if scheme.granularity == "channel" else 0
    weight, dims = weight.detach(), tuple(range(keep, weight.ndim))
    if weight.is_cuda:  # one launch in place of two
        return torch.linalg.vector_norm(weight, math.inf, dims).reshape(-1)
    return weight.abs().amax(dims).reshape(-1)  # that norm takes a CPU 20 times as long


def covering_scale(largest: Tensor, scheme: WeightScheme) -> Tensor:
    """The scale that puts the magnitude `largest` on the last integer; of its shape."""
    return (largest / weight_integers(scheme).quant_max).clamp(min=SMALLEST_SCALE)


def activation_scale(low: Tensor, high: Tensor, scheme: ActivationScheme) -> Tensor:
    """The scale (scalar) at which the integers cover [low, high] and 0."""
    integers = activation_integers(scheme)
    low, high = low.clamp(max=0), high.clamp(min=0)
    if scheme.symmetric:
        width, steps = torch.maximum(-low, high), integers.quant_max - middle_code(scheme)
    else:
        width, steps = high - low, integers.quant_max - integers.quant_min
    return (torch.where(width == 0, WIDTH_OF_NOTHING, width) / steps).clamp(min=SMALLEST_SCALE)


def activation_zero_point(low: Tensor, scale: Tensor, scheme: ActivationScheme) -> Tensor:
    """The integer (scalar, in floating point) that stands for 0 in a range that begins at `low`."""
    if scheme.symmetric:
        return torch.full_like(scale, middle_code(scheme))
    integers = activation_integers(scheme)
    return (-low.clamp(max=0) / scale).round().clamp(integers.quant_min, integers.quant_max)


def bias_magnitude(bias: Tensor, scales: int) -> Tensor:
    """The largest magnitude among the biases (O,) that share a scale: (`scales`,), which is (O,) or (1,)."""
    return bias.detach().abs().reshape(scales, -1).amax(1)


def scale_with_room(scale: Tensor, bias_magnitude: Tensor, input_scale: Tensor) -> Tensor:
    """The weight scale, made coarser where the bias would not fit; all of one shape, to which `input_scale` broadcasts.

    An integer layer adds its bias in codes of `input_scale` times the weight scale. Where that is so fine that the
    bias leaves `BIAS_INTEGERS`, the weights are negligible beside the bias.
    """
    return torch.maximum(scale, bias_magnitude / (input_scale * BIAS_INTEGERS.quant_max))


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


def common_unit(scales: Iterable[Tensor]) -> float:
    """A power of two of which every scale (scalars) may be made a whole multiple, at most 1 / `UNITS` coarser."""
    smallest = min(scale.item() for scale in scales)
    return 2.0 ** math.floor(math.log2(smallest)) / UNITS


def multiple_of_unit(scale: Tensor, unit: Tensor) -> Tensor:
    """The scale (scalar), made coarser to a whole multiple of `unit`."""
    return (scale / unit).ceil() * unit


def odd_multiple_of_unit(scale: Tensor, unit: Tensor) -> Tensor:
    """The scale (scalar), made coarser to an odd multiple of `unit`.

    With whole multiples of the same unit for the scales of two summands, a sum in codes of this scale is a whole
    number over an odd one: never a rounding tie, as with `tie_free_scale`.
    """
    return (2 * ((scale / unit - 1) / 2).ceil() + 1) * unit


def tie_free_output_scale(scale: Tensor, factor: Tensor) -> Tensor:
    """The scale (scalar) of a product's or an average's output, made coarser so that no result is near a rounding tie.

    `factor` is the value of one step of the integer product or sum: with n / d for `factor` over the scale, d odd, the
    same holds as in `tie_free_scale`.
    """
    numerator = (factor / scale * TIE_FREE_RESOLUTION).ceil()
    denominator = 2 * ((numerator * scale / factor - 1) / 2).ceil() + 1
    return factor * denominator / numerator


def whole_share(scale: Tensor, length: float, largest: int) -> Tensor:
    """The scale (scalar), made coarser so that `length` is a whole number k <= `largest` of steps, k prime to 255.

    255 q / 2k, the code of a hard-sigmoid's gate, is then a tie for no q but odd multiples of k: where the input is 0,
    or beyond the clamp.
    """
    steps = min(largest, math.floor(length / scale.item()))
    while math.gcd(steps, 255) > 1:
        steps -= 1
    return torch.full_like(scale, length / max(steps, 1))


def is_near_tie(results: Tensor) -> bool:
    """Whether one of some positive results, in integer steps, lies near a rounding tie. Above 256 all saturate."""
    inside = results[results < 256]
    return bool((inside.frac() - 0.5).abs().lt(LOOKUP_MARGIN).any())


def exact_weight_scale(weights: Tensor, output_scale: Tensor) -> Tensor:
    """Scales (C,) at which weights (C,), one of each channel, are whole numbers of 64 to 127 steps, and no ties met.

    Of all n / d, d odd, for the scale over `output_scale`, those that come nearest: within a millionth. The integers
    that are multiplied have a scale of 1.
    """
    codes = torch.arange(64, 128, dtype=torch.double)[:, None]  # (64, 1)
    denominators = torch.arange(1, LARGEST_TIE_FREE_DENOMINATOR + 1, 2, dtype=torch.double)  # (D,)
    wanted = weights.detach().cpu().double() / output_scale.detach().cpu().double()
    scales = []
    for each in wanted:
        numerators = (each / codes * denominators).round().clamp(min=1)  # (64, D)
        best = (codes * numerators / denominators - each).abs().argmin()
        scales.append((numerators / denominators).flatten()[best])
    return (torch.stack(scales) * output_scale.cpu().double()).to(weights)
