"""FP32 training: its optimiser, and how it goes forward."""

import torch
from torchvision.models import MobileNetV2

from selectq.kernels.float_step import FloatStep
from selectq.params.configs import FinetuneConfig
from selectq.training.forward import Forward, Kernels, training_forward
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


def finetune_forward(model: MobileNetV2, device: torch.device, steps: int, workers: Workers) -> Forward:
    """What to call on training batches; of several processes, the plain network with shared batch-norm statistics."""
    if workers.count == 1:
        return training_forward(model, FLOAT_KERNELS, device, steps)
    share_statistics(model, workers)
    return model
