"""FP32 training: its optimiser, and how it goes forward."""

import sys

import torch
from torch import Tensor
from torchvision.models import MobileNetV2

from selectq.kernels.float_step import FloatStep
from selectq.params.configs import FinetuneConfig
from selectq.training.forward import Forward, Kernels, RecordedStep, training_forward
from selectq.training.parallel import Workers, share_statistics

FLOAT_KERNELS = Kernels(FloatStep, FloatStep.SOURCES)


def finetune_optimizer(model: MobileNetV2, config: FinetuneConfig) -> torch.optim.Optimizer:
    """SGD over all parameters."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def finetune_forward(model: MobileNetV2, device: torch.device, config: FinetuneConfig, workers: Workers) -> Forward:
    """What to call on training batches; of several processes, the plain network with shared batch-norm statistics.

    With the precision `bfloat16`, convolutions multiply such numbers; parameters, statistics and loss stay float32. It
    is meant for a GPU: that it is slow on a CPU is said.
    """
    if workers.count > 1:
        share_statistics(model, workers)
    if config.precision == "bfloat16":
        if device.type == "cpu":
            print("finetune.precision: bfloat16 on a CPU takes about twice as long as float32", file=sys.stderr)
        forward = _in_bfloat16(model, device)
        return RecordedStep(model, forward) if device.type == "cuda" and workers.count == 1 else forward
    return training_forward(model, FLOAT_KERNELS, device) if workers.count == 1 else model


def _in_bfloat16(model: MobileNetV2, device: torch.device) -> Forward:
    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):  # a recording cannot have it
            logits: Tensor = model(images)
        return logits.float()

    return forward
