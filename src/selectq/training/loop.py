"""The training loop that FP32 fine-tuning and QAT share."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from selectq.data.device import tensor_float32
from selectq.data.evaluate import evaluate
from selectq.data.packed import Dataset
from selectq.errors import UserError
from selectq.progress import progress
from selectq.training.batches import Batches
from selectq.training.forward import Forward
from selectq.training.parallel import ALONE, Workers
from selectq.training.resume import Row, TrainingState
from selectq.training.schedules import Schedule


class Hooks:
    """What else a step does; the base does nothing."""

    def before_step(self, epoch: float) -> None:
        """Called with the fractional epoch."""

    def after_step(self, epoch: float) -> None:
        """Called with the fractional epoch, once the parameters have moved."""

    def after_epoch(self, epoch: int) -> Row:
        """Called with the index of the epoch that ends; what was counted in it, as JSON, for its row of training."""
        return {}


class HookSequence(Hooks):
    """Several hooks, one after another."""

    def __init__(self, *hooks: Hooks) -> None:
        self._hooks = hooks

    def before_step(self, epoch: float) -> None:
        """See `Hooks`."""
        for hooks in self._hooks:
            hooks.before_step(epoch)

    def after_step(self, epoch: float) -> None:
        """See `Hooks`."""
        for hooks in self._hooks:
            hooks.after_step(epoch)

    def after_epoch(self, epoch: int) -> Row:
        """What all of them counted."""
        return {key: value for hooks in self._hooks for key, value in hooks.after_epoch(epoch).items()}


@dataclass(frozen=True)
class Plan:
    """How long to train, on which batches, at which rate, and what else a step does.

    `forward` takes a training batch to logits, `predict` validation images in evaluation mode. `label_smoothing` is the
    share of a label that is spread over all classes, in training alone.
    """

    epochs: int
    batches: Batches
    forward: Forward
    predict: Forward
    schedule: Schedule
    seed: int
    label_smoothing: float = 0.0
    hooks: Hooks = field(default_factory=Hooks)
    workers: Workers = ALONE


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
        dataset: followed on `validation`; the plan's batches come from `train`.
        plan: epochs, batches, forward passes through `network`, schedule, seed.
        state: where a killed run's state is found and each whole epoch's is kept.

    Raises:
        UserError: the loss is no longer a number.
    """
    history = state.restore(network, optimizer)
    for epoch in range(len(history) // 2, plan.epochs):
        with tensor_float32(True):
            training = _train_epoch(network, optimizer, plan, epoch, dataset.train.device)
        label, workers = f"epoch {epoch + 1} validation", plan.workers
        network.eval()
        validation = evaluate(plan.predict, dataset.validation, label, workers.share, workers.sum)
        if not math.isfinite(training["loss"] + validation["loss"]):
            highest = plan.schedule(epoch + 0.5)
            raise UserError(f"epoch {epoch + 1}: the loss is not a number; lower lr (now up to {highest:g})")
        history.append({"epoch": epoch + 1, "split": "train", **training, **plan.hooks.after_epoch(epoch)})
        history.append({"epoch": epoch + 1, "split": "validation", **validation})
        if plan.workers.first:
            state.save(network, optimizer, history)
    network.eval()
    return history


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, epoch: int, device: torch.device
) -> dict[str, float]:
    """One epoch; its mean loss and accuracy (percent) on the augmented batches."""
    epoch_seed, workers = plan.seed * 100_003 + epoch, plan.workers
    torch.manual_seed(epoch_seed * workers.count + workers.rank)  # dropout
    generator = torch.Generator().manual_seed(epoch_seed)  # order and augmentation
    steps, images_seen = len(plan.batches), 0
    totals = torch.zeros(2, dtype=torch.double, device=device)  # loss, correct predictions
    network.train()
    bar = progress(plan.batches.epoch(epoch, generator), steps, f"epoch {epoch + 1}/{plan.epochs}")
    for step, (inputs, labels) in enumerate(bar):
        now = epoch + step / steps
        for group in optimizer.param_groups:
            group["lr"] = plan.schedule(now)
        plan.hooks.before_step(now)
        logits = plan.forward(inputs)  # (B, classes)
        loss = F.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        workers.average_gradients(network.parameters())
        optimizer.step()
        plan.hooks.after_step(now)
        totals += torch.stack([loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()])
        images_seen += len(labels) * workers.count
    loss_sum, correct = workers.sum(totals).tolist()
    return {"loss": loss_sum / images_seen, "top1": 100.0 * correct / images_seen}
