"""Training steps and passes, timed in turns by the package's clock."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from selectq.latency.turns import take_turns
from selectq.training.forward import Forward
from selectq.training.loop import Hooks

Batch = tuple[Tensor, Tensor]
"""Inputs (B, ...) and int64 labels (B,), on the network's device."""


@dataclass(frozen=True)
class Side:
    """Something that is timed.

    Attributes:
        work: does it once, and returns how many images that took.
        deterministic: whether it runs with deterministic algorithms.
        steps: how often it is done in a turn.
        check: raises an error if the work was not done; called after every turn.
    """

    work: Callable[[], int]
    deterministic: bool
    steps: int
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Trainer:
    """A training step.

    Attributes:
        forward: of a batch, in training mode.
        optimizer: over the parameters that learn.
        batches: without end; making a batch is part of a step.
        hooks: what else a step does.
    """

    forward: Forward
    optimizer: torch.optim.Optimizer
    batches: Iterator[Batch]
    hooks: Hooks = field(default_factory=Hooks)

    def step(self) -> int:
        """One training step; how many images it took."""
        inputs, labels = next(self.batches)
        self.hooks.before_step(0.0)
        loss = F.cross_entropy(self.forward(inputs), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.hooks.after_step(0.0)
        return len(labels)

    def check(self) -> None:
        """That the last step trained every filter: one whose backward pass is empty would be the fastest of all.

        Raises:
            RuntimeError: a filter has no gradient, or one of 0.
        """
        filters = [p for group in self.optimizer.param_groups for p in group["params"] if p.ndim > 1]
        idle = sum(weight.grad is None or not weight.grad.any() for weight in filters)
        if idle:
            raise RuntimeError(f"the step trains {len(filters) - idle} of its {len(filters)} filters")


def time_in_turns(sides: Mapping[str, Side], repeats: int, label: str) -> dict[str, list[float]]:
    """Images per second of each side, round by round; each has one turn in a round, after one that does not count."""
    return take_turns({name: partial(_images_per_second, side) for name, side in sides.items()}, repeats, label)


def _images_per_second(side: Side) -> float:
    """The first step is not timed: meanwhile loader workers refill their queues, and caches change hands."""
    with _algorithms(side.deterministic):
        side.work()
        _wait_for_device()
        start = perf_counter()
        images = sum(side.work() for _ in range(side.steps))
        _wait_for_device()
        speed = images / (perf_counter() - start)
    side.check()
    return speed


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
