"""Cross-layer equalisation: the channels between the convolutions of a block scaled so that their ranges are equal.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 6 to 11); `range_skew`
is the same run backwards. ReLU(s x) = s ReLU(x) for s > 0 keeps the function.

Their absorption of high biases (section 4.1.3) is left out: it keeps the function only up to three standard deviations,
and before a depthwise convolution not at all, whose padding is of zeros and not of the absorbed constant.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.networks.range_skew import rescale_channels
from selectq.quantization.repairs.layers import NormalisedConv, folded_weight, output_spread

LARGEST_OUTPUT = 8
"""The limit of a channel's output, in outputs of the median channel; in trained networks all stay below 3."""

STEPS = 30
"""Steps of the iteration; each reduces the error of a limited channel's factors to a quarter."""


@torch.no_grad()
def equalize(model: MobileNetV2) -> None:
    """Give each channel inside a block the same weight range in all the layers it passes through, in place.

    Where that would blow up what the channel puts out, its ranges come as near to each other as they may. The function
    is unchanged in evaluation mode up to rounding, if the activations are ReLU.
    """
    for block in model.features:
        if isinstance(block, InvertedResidual):
            *activated, projection, norm = block.conv
            layers = [*((layer[0], layer[1]) for layer in activated), (projection, norm)]
            for (layer, following), factors in zip(pairwise(layers), equalizing_factors(layers), strict=True):
                rescale_channels(layer[1], following[0], factors.to(layer[1].weight))


def equalizing_factors(layers: Sequence[NormalisedConv]) -> list[Tensor]:
    """By what to multiply the C channels behind each layer of a block but the last: (C,) each.

    Equation 11, repeated over the pairs of layers until nothing changes, ends here at once: a depthwise convolution has
    one filter for each channel, so no channel's ranges depend on another's, and a channel's ranges end at their
    geometric mean. A channel without weights in some layer keeps its scale: nothing there could take over another.

    A channel with a bias and next to no weights would get a factor of thousands, its bias too, and the layer's
    activations, which have one scale, would be left with a few integers for all other channels. So no factor makes a
    channel put out more than `LARGEST_OUTPUT` times what the layer's median channel does.
    """
    ranges, outputs = channel_ranges(layers), channel_outputs(layers[:-1])  # (L, C), (L - 1, C)
    alive = ranges.amin(0) > 0  # (C,)
    common = ranges.log().mean(0).exp()  # (C,)
    free = torch.where(alive, (common / ranges).cumprod(0), 1.0)[:-1]
    if not alive.any():
        return list(free)
    median = (free * outputs)[:, alive].median(1, keepdim=True).values  # (L - 1, 1)
    limits = LARGEST_OUTPUT * median / outputs
    limited = (free > limits).any(0)  # (C,)
    return list(torch.where(limited, _within(limits, free, ranges), free))


def _within(limits: Tensor, factors: Tensor, ranges: Tensor) -> Tensor:
    """The factors that make a channel's ranges as equal as the limits allow: (L - 1, C) as `factors` and `limits`.

    One after another, each makes the ranges before and behind it equal or stops at its limit.
    """
    padded = F.pad(factors.minimum(limits), (0, 0, 1, 1), value=1.0)  # the first layer's input and the last's output
    for _ in range(STEPS):
        for index, limit in enumerate(limits):
            equal = (ranges[index + 1] * padded[index + 2] * padded[index] / ranges[index]).sqrt()
            padded[index + 1] = torch.where(ranges.amin(0) > 0, equal.minimum(limit), padded[index + 1])
    return padded[1:-1]


def channel_outputs(layers: Sequence[NormalisedConv]) -> Tensor:
    """The largest magnitude that each of C channels puts out before the activation function, in each layer: (L, C).

    By the batch norms: bias and three standard deviations.
    """
    return torch.stack([norm.bias.detach().double().abs() + 3 * output_spread(norm) for _, norm in layers])


def channel_ranges(layers: Sequence[NormalisedConv]) -> Tensor:
    """The largest folded weight, by magnitude, of each of a block's C inner channels in each of its L layers: (L, C).

    The last layer reads the channels; the others put them out.
    """
    weights = [folded_weight(*layer).abs() for layer in layers]  # (C, ...) each, the last (O, C, 1, 1)
    return torch.stack([*(weight.flatten(1).amax(1) for weight in weights[:-1]), weights[-1].amax((0, 2, 3))])
