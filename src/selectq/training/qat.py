"""Quantization-aware training of the layers in scope."""

from collections.abc import Callable

import torch
from torch import nn

from selectq.params.configs import QatConfig, QatTrainingConfig
from selectq.quantization.quantizers import ActivationQuantizer


def build_optimizer(
    parameters: list[nn.Parameter], config: QatConfig, training: QatTrainingConfig
) -> torch.optim.Optimizer:
    """The optimiser of the parameters. Adam steps alike in channels of unequal range; SGD does not."""
    builders: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(
            parameters, lr=config.lr, momentum=training.momentum, weight_decay=training.weight_decay
        ),
        "adam": lambda: torch.optim.Adam(parameters, lr=config.lr, weight_decay=training.weight_decay),
    }
    return builders[training.optimizer]()


def range_follower(quantizers: list[ActivationQuantizer], training: QatTrainingConfig) -> Callable[[float], None]:
    """What to call with the fractional epoch before each step: the ranges follow the data, then stay fixed."""

    def before_step(epoch: float) -> None:
        for quantizer in quantizers:
            quantizer.averaging = training.range_averaging if epoch < training.range_epochs else 0.0

    return before_step
