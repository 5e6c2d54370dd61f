"""FP32 training."""

import sys

import torch
from torch import Tensor, nn

from selectq.config.configs import FinetuneConfig
from selectq.data.packed import Dataset
from selectq.errors import first_line
from selectq.graph.capture import trace
from selectq.kernels.float_step import FloatStep
from selectq.training.batches import AugmentedImages
from selectq.training.forward import Forward, Kernels, RecordedStep, training_forward
from selectq.training.loop import Plan, fit
from selectq.training.parallel import Workers, share_statistics
from selectq.training.resume import Row, TrainingState
from selectq.training.schedules import finetune_schedule

FLOAT_KERNELS = Kernels(FloatStep, FloatStep.SOURCES)


def finetune(
    model: nn.Module, dataset: Dataset, config: FinetuneConfig, seed: int, state: TrainingState, *, workers: Workers
) -> list[Row]:
    """Train the network in place, on the data set's device; a row for each epoch and split."""
    optimizer = finetune_optimizer(model, config)
    batches = AugmentedImages(dataset.train, config.batch_size, config.augment, workers)
    forward = finetune_forward(model, dataset.train.device, config, workers)
    schedule = finetune_schedule(config)
    plan = Plan(config.epochs, batches, forward, model, schedule, seed, config.label_smoothing, workers=workers)
    return fit(model, optimizer, dataset, plan, state)


def finetune_optimizer(model: nn.Module, config: FinetuneConfig) -> torch.optim.Optimizer:
    """SGD over all parameters."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def finetune_forward(model: nn.Module, device: torch.device, config: FinetuneConfig, workers: Workers) -> Forward:
    """What to call on training batches: kernels or a recording, where there are such for the network, or itself.

    In several processes it is the network itself, with shared batch-norm statistics.

    With the precision `bfloat16`, convolutions multiply such numbers; parameters, statistics and loss stay float32. It
    is meant for a GPU: that it is slow on a CPU is said.
    """
    if workers.count > 1:
        share_statistics(model, workers)
    on_gpu, alone = device.type == "cuda", workers.count == 1
    if config.precision == "bfloat16":
        if not on_gpu:
            print(
                "finetune.precision: bfloat16 on a CPU takes twice as long as float32, without AVX-512 minutes a batch",
                file=sys.stderr,
            )
        forward = _in_bfloat16(model, device)
        return RecordedStep(model, forward) if on_gpu and alone and _can_follow(model) else forward
    fast = alone and _can_follow(model) and (on_gpu or FloatStep.serves(model))
    return training_forward(model, FLOAT_KERNELS, device) if fast else model


def _can_follow(model: nn.Module) -> bool:
    """Whether each step does the same, as far as torch.fx can tell; if not, that is said."""
    try:
        trace(model, training=True)
    except Exception as error:  # of any type: it runs the network's own code
        reason = f"torch.fx cannot follow {type(model).__name__} ({first_line(error)})"
        print(f"training neither by kernels nor recorded, more slowly: {reason}", file=sys.stderr)
        return False
    return True


def _in_bfloat16(model: nn.Module, device: torch.device) -> Forward:
    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):  # a recording cannot have it
            logits: Tensor = model(images)
        return logits.float()

    return forward
