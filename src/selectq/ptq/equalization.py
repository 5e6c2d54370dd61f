"""Cross-layer equalisation: the channels between the layers of a chain scaled so that their weight ranges are equal.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 6 to 11); `range_skew`
is the same run backwards. ReLU(s x) = s ReLU(x) for s > 0 keeps the function; a network's chains are those of
`selectq.graph.chains`.

Their absorption of high biases (section 4.1.3) is left out: it keeps the function only up to three standard deviations,
and before a depthwise convolution not at all, whose padding is of zeros and not of the absorbed constant.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.graph.chains import chains
from selectq.graph.nodes import Graph
from selectq.networks.layers import FloatLayer, float_layer, output_spread, rescale_channels
from selectq.ptq.registry import PtqState, When, register

LARGEST_OUTPUT = 8
"""The limit of a channel's output, in outputs of the median channel; in trained networks all stay below 3."""

STEPS = 30
"""Steps of the iteration; each reduces the error of a limited channel's factors to a quarter."""

SWEEPS = 20
"""How often all chains are equalized at most; once is enough where no two share a layer."""

SETTLED = 1e-3
"""A chain is left as it is if none of its factors differs from 1 by as much."""


@torch.no_grad()
def equalize(model: nn.Module, graph: Graph) -> None:
    """Give each channel of a chain the same weight range in all the layers it passes through, in place.

    Where that would blow up what the channel puts out, its ranges come as near to each other as they may. The function
    is unchanged in evaluation mode up to rounding. Where chains share a layer, each unsettles the other: then all are
    equalized in turns.
    """
    found = [[float_layer(model, node) for node in chain] for chain in chains(graph)]
    for _ in range(SWEEPS):
        if not any([_equalize(chain) for chain in found]):
            break


def _equalize(chain: Sequence[FloatLayer]) -> bool:
    """Whether the chain had not settled."""
    factors = equalizing_factors(chain)
    if all(((each - 1).abs() < SETTLED).all() for each in factors):
        return False
    for (layer, following), each in zip(pairwise(chain), factors, strict=True):
        rescale_channels(layer, following, each)
    return True


def equalizing_factors(layers: Sequence[FloatLayer]) -> list[Tensor]:
    """By what to multiply the C channels behind each layer of a chain but the last: (C,) each.

    Equation 11, repeated over the pairs of layers until nothing changes, ends here at once: a depthwise convolution has
    one filter for each channel, so no channel's ranges depend on another's, and a channel's ranges end at their
    geometric mean. A channel without weights in some layer keeps its scale: nothing there could take over another.

    A channel with a bias and next to no weights would get a factor of thousands, its bias too, and the layer's
    activations, which have one scale, would be left with a few integers for all other channels. So no factor makes a
    channel put out more than `LARGEST_OUTPUT` times what the layer's median channel does. Without a
    batch norm a channel's output is known to be at least its bias: there the limit hinders no factor below 1.
    """
    ranges, outputs = channel_ranges(layers), channel_outputs(layers[:-1])  # (L, C), (L - 1, C)
    alive = ranges.amin(0) > 0  # (C,)
    common = ranges.log().mean(0).exp()  # (C,)
    free = torch.where(alive, (common / ranges).cumprod(0), 1.0)[:-1]
    if not alive.any():
        return list(free)
    limits = _limits(layers, free, outputs, alive)
    limited = (free > limits).any(0)  # (C,)
    return list(torch.where(limited, _within(limits, free, ranges), free))


def _limits(layers: Sequence[FloatLayer], free: Tensor, outputs: Tensor, alive: Tensor) -> Tensor:
    """The largest factors of the channels behind each layer but the last, (L - 1, C) as `free` and `outputs`."""
    median = (free * outputs)[:, alive].median(1, keepdim=True).values  # (L - 1, 1)
    limits = torch.where(outputs > 0, LARGEST_OUTPUT * median / outputs, torch.inf)
    biases_alone = torch.tensor([layer.norm is None for layer in layers[:-1]], device=limits.device)[:, None]
    return torch.where(biases_alone, limits.clamp(min=1.0), limits)


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


def channel_outputs(layers: Sequence[FloatLayer]) -> Tensor:
    """The largest magnitude that each of C channels puts out before the activation function, in each layer: (L, C).

    By the batch norms: bias and three standard deviations. Without one, only the bias is known.
    """
    return torch.stack([_outputs(layer) for layer in layers])


def _outputs(layer: FloatLayer) -> Tensor:
    if layer.norm is not None:
        return layer.norm.bias.detach().double().abs() + 3 * output_spread(layer.norm)
    weight, bias = layer.module.weight, layer.module.bias
    return weight.new_zeros(len(weight), dtype=torch.double) if bias is None else bias.detach().double().abs()


def channel_ranges(layers: Sequence[FloatLayer]) -> Tensor:
    """The largest folded weight, by magnitude, of each of a chain's C channels in each of its L layers: (L, C).

    The last layer reads the channels; the others put them out.
    """
    return torch.stack([*(layer.output_ranges() for layer in layers[:-1]), layers[-1].input_ranges()])


class Equalize:
    """See `equalize`."""

    name = "equalize"
    when: When = "fp32"

    def apply(self, state: PtqState) -> None:
        """Change the FP32 network."""
        equalize(state.model, state.graph)


register(Equalize())
