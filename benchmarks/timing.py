"""Two training loops timed in turns in one process, so that what else the machine does hits both alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.progress import progress

Batch = tuple[Tensor, Tensor]
"""Float images (B, 3, H, W) and int64 labels (B,), on the network's device."""


@dataclass(frozen=True)
class Trainer:
    """One side of a comparison.

    Attributes:
        network: in training mode.
        optimizer: over the parameters that learn.
        batches: without end; making a batch is part of a step.
        deterministic: whether this side runs with deterministic algorithms.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[Batch]
    deterministic: bool

    def step(self) -> int:
        """One training step; how many images it took."""
        images, labels = next(self.batches)
        loss = F.cross_entropy(self.network(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return len(labels)


@dataclass(frozen=True)
class Protocol:
    """How often each side is timed (`repeats`), over how many steps, after how many that do not count."""

    repeats: int
    steps: int
    burn_in_steps: int


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some repeats."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    return Spread(min(values), median(values), max(values))


@dataclass(frozen=True)
class Timing:
    """Images per second of both sides; entries at the same place were measured one after the other."""

    ours: list[float]
    peer: list[float]

    def ratios(self) -> list[float]:
        """Ours over the peer, repeat by repeat: slow drifts of the machine's speed cancel."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]


def time_in_turns(ours: Trainer, peer: Trainer, protocol: Protocol, label: str) -> Timing:
    """Time ours, peer, ours, peer, ..., each once per repeat."""
    for trainer in (ours, peer):
        _images_per_second(trainer, protocol.burn_in_steps)
    timing = Timing([], [])
    for _ in progress(range(protocol.repeats), protocol.repeats, label, unit="pair"):
        timing.ours.append(_images_per_second(ours, protocol.steps))
        timing.peer.append(_images_per_second(peer, protocol.steps))
    return timing


def _images_per_second(trainer: Trainer, steps: int) -> float:
    """The first step is not timed: meanwhile loader workers refill their queues, and caches change hands."""
    with _algorithms(trainer.deterministic):
        trainer.step()
        _wait_for_device()
        start = perf_counter()
        images = sum(trainer.step() for _ in range(steps))
        _wait_for_device()
        return images / (perf_counter() - start)


@contextmanager
def _algorithms(deterministic: bool) -> Iterator[None]:
    """The project trains with deterministic algorithms; the usual loops take the fastest."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
