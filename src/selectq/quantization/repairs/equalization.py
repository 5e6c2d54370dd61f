"""Cross-layer equalisation: the channels between the convolutions of a block scaled so that their ranges are equal.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 6 to 11); `range_skew`
is the same run backwards. ReLU(s x) = s ReLU(x) for s > 0 keeps the function.

Their absorption of high biases (section 4.1.3) is left out: it keeps the function only up to three standard deviations,
and before a depthwise convolution not at all, whose padding is of zeros and not of the absorbed constant.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.models.range_skew import rescale_channels
from selectq.quantization.repairs.layers import NormalisedConv, folded_weight


@torch.no_grad()
def equalize(model: MobileNetV2) -> None:
    """Give each channel inside a block the same weight range in all the layers it passes through, in place.

    The function is unchanged in evaluation mode up to rounding, if the activations are ReLU.
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
    geometric mean. A channel without weights in some layer stays as it is: nothing there could take over a scale.
    """
    ranges = channel_ranges(layers)  # (L, C)
    common = ranges.log().mean(0).exp()  # (C,)
    return list(torch.where(ranges.amin(0) > 0, (common / ranges).cumprod(0), 1.0)[:-1])


def channel_ranges(layers: Sequence[NormalisedConv]) -> Tensor:
    """The largest folded weight, by magnitude, of each of a block's C inner channels in each of its L layers: (L, C).

    The last layer reads the channels; the others put them out.
    """
    weights = [folded_weight(*layer).abs() for layer in layers]  # (C, ...) each, the last (O, C, 1, 1)
    return torch.stack([*(weight.flatten(1).amax(1) for weight in weights[:-1]), weights[-1].amax((0, 2, 3))])
