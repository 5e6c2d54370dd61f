"""The training loop that FP32 fine-tuning and QAT share."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from selectq.data.augment import training_batches
from selectq.data.packed import Dataset, Split
from selectq.errors import UserError
from selectq.params.configs import AugmentConfig
from selectq.progress import progress
from selectq.training.evaluate import evaluate
from selectq.training.resume import Row, TrainingState
from selectq.training.schedules import Schedule


def _do_nothing(epoch: float) -> None:
    """FP32 training needs nothing done between steps."""


@dataclass(frozen=True)
class Plan:
    """How long to train, on which batches, at which rate.

    `before_step` is called with the fractional epoch before each step.
    """

    epochs: int
    batch_size: int
    augment: AugmentConfig
    schedule: Schedule
    seed: int
    before_step: Callable[[float], None] = _do_nothing


def fit(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    plan: Plan,
    state: TrainingState,
) -> list[Row]:
    """Train `network` in place and return one history row for each epoch and split.

    Args:
        network: on the device of the data set's tensors.
        optimizer: over the parameters that may learn; its learning rate is set at every step.
        dataset: trained on `train`, followed on `validation`.
        plan: epochs, batches, schedule, seed.
        state: where a killed run's state is found and each whole epoch's is kept.

    Raises:
        UserError: the loss is no longer a number, or the training split is smaller than a batch.
    """
    if len(dataset.train) < plan.batch_size:
        raise UserError(f"batch_size: {plan.batch_size} is more than the {len(dataset.train)} training images")
    history = state.restore(network, optimizer)
    for epoch in range(len(history) // 2, plan.epochs):
        training = _train_epoch(network, optimizer, dataset.train, plan, epoch)
        network.eval()
        validation = evaluate(network, dataset.validation, f"epoch {epoch + 1} validation")
        if not math.isfinite(training["loss"] + validation["loss"]):
            highest = plan.schedule(epoch + 0.5)
            raise UserError(f"epoch {epoch + 1}: the loss is not a number; lower lr (now up to {highest:g})")
        history.append({"epoch": epoch + 1, "split": "train", **training})
        history.append({"epoch": epoch + 1, "split": "validation", **validation})
        state.save(network, optimizer, history)
    network.eval()
    return history


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    split: Split,
    plan: Plan,
    epoch: int,
) -> dict[str, float]:
    """One epoch; its mean loss and accuracy (percent) on the augmented batches."""
    epoch_seed = plan.seed * 100_003 + epoch
    torch.manual_seed(epoch_seed)  # dropout
    generator = torch.Generator().manual_seed(epoch_seed)  # order and augmentation
    steps = len(split) // plan.batch_size
    loss_sum = torch.zeros((), device=split.labels.device)
    correct = torch.zeros((), device=split.labels.device, dtype=torch.long)
    network.train()
    bar = progress(
        training_batches(split, plan.batch_size, plan.augment, generator), steps, f"epoch {epoch + 1}/{plan.epochs}"
    )
    for step, (images, labels) in enumerate(bar):
        now = epoch + step / steps
        for group in optimizer.param_groups:
            group["lr"] = plan.schedule(now)
        plan.before_step(now)
        logits = network(images)  # (B, classes)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach()
        correct += (logits.detach().argmax(1) == labels).sum()
    return {"loss": loss_sum.item() / steps, "top1": 100.0 * correct.item() / (steps * plan.batch_size)}
