"""Channels that put out a constant: their weights do nothing, but set the scale of the whole tensor.

A channel dies in training when its input does: its running variance decays to 0, and folding multiplies its weights by
gamma / sqrt(eps), three hundred times gamma. With one scale per tensor, the living channels then round to 0. Or its
gamma goes to 0, and its bias is all that it puts out.
"""

import torch
from torch import Tensor, nn

from selectq.graph.nodes import Graph
from selectq.networks.layers import normalised_convolutions, output_spread, running_statistics
from selectq.ptq.registry import PtqState, When, register

SMALLEST_SPREAD = 2.0**-8
"""The smallest standard deviation of a living channel's output, in gammas: one step if 8 bits covered one gamma."""

NORMAL_WIDTH = 6
"""Standard deviations between which nearly all values of a normal distribution lie."""


@torch.no_grad()
def zero_dead_channels(model: nn.Module, graph: Graph) -> None:
    """Have every dead channel put out its constant, the batch norm's beta, by its bias alone; in place.

    The folded weight becomes 0. The function changes by less than what 8 bits can show.
    """
    for convolution, norm in normalised_convolutions(model, graph):
        mean, _ = running_statistics(norm)
        dead = dead_channels(norm)
        convolution.weight[dead] = 0
        mean[dead] = 0


def dead_channels(norm: nn.BatchNorm2d) -> Tensor:
    """Which channels of a batch norm put out a constant, bool (C,).

    Their input is constant, or all that they put out lies within one step, if 8 bits covered their beta alone. Scaling
    a channel, as range skew and equalization do, does not change this.
    """
    _, variance = running_statistics(norm)
    one_step = norm.bias.detach().double().abs() / 2**8
    return constant_channels(variance, norm.eps) | (NORMAL_WIDTH * output_spread(norm) < one_step)


def constant_channels(variance: Tensor, eps: float) -> Tensor:
    """Which channels of a batch norm read a constant, bool (C,); `variance` (C,) is of its input.

    A batch norm puts out beta plus or minus gamma * sqrt(var / (var + eps)), one standard deviation; in a living
    channel, whose variance is far above eps, that is gamma. An input is constant where it is below `SMALLEST_SPREAD`
    gamma, hence where var < 1.5e-5 eps.
    """
    spread = torch.sqrt(variance.double() / (variance.double() + eps))
    return spread < SMALLEST_SPREAD


class ZeroDeadChannels:
    """See `zero_dead_channels`."""

    name = "zero_dead_channels"
    when: When = "fp32"

    def apply(self, state: PtqState) -> None:
        """Change the FP32 network."""
        zero_dead_channels(state.model, state.graph)


register(ZeroDeadChannels())
