"""Channels that put out a constant: their weights do nothing, but set the scale of the whole tensor.

A channel dies in training when its input does: its running variance decays to 0, and folding multiplies its weights by
gamma / sqrt(eps), three hundred times gamma. With one scale per tensor, the living channels then round to 0.
"""

import torch
from torch import Tensor
from torchvision.models import MobileNetV2

from selectq.quantization.repairs.layers import normalised_convolutions, running_statistics

SMALLEST_SPREAD = 2.0**-8
"""Of a living channel's output, in units of the batch norm's gamma: one level, if 8 bits covered one gamma alone."""


@torch.no_grad()
def zero_dead_channels(model: MobileNetV2) -> None:
    """Have every dead channel put out its constant, the batch norm's beta, by its bias alone; in place.

    The folded weight becomes 0. The function changes by less than what 8 bits can show.
    """
    for convolution, norm in normalised_convolutions(model):
        mean, variance = running_statistics(norm)
        dead = constant_channels(variance, norm.eps)
        convolution.weight[dead] = 0
        mean[dead] = 0


def constant_channels(variance: Tensor, eps: float) -> Tensor:
    """Which of the channels of a batch norm put out a constant, bool (C,); `variance` (C,) is of its input.

    A batch norm puts out beta plus or minus gamma * sqrt(var / (var + eps)), one standard deviation; in a living
    channel, whose variance is far above eps, that is gamma. A channel is dead where it is below `SMALLEST_SPREAD`
    gamma, hence where var < 1.5e-5 eps. Scaling a channel, as `range_skew` and equalisation do, does not change this.
    """
    spread = torch.sqrt(variance.double() / (variance.double() + eps))
    return spread < SMALLEST_SPREAD
