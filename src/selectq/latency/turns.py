"""Any number of sides timed in turns in one process, so that what else the machine does hits all alike.

Threads that wait for work spin for a while before they sleep, and would take time from the next side. That is left as
each runtime has it by default, since it is part of its speed; instead, all rest before each turn for longer than any
was seen to spin (20 ms).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep
from typing import Any, TypeVar

from selectq.progress import progress

Key = TypeVar("Key")
T = TypeVar("T")

Run = Callable[[], Any]
"""One inference of a whole batch; returns the logits (batch, classes)."""


@dataclass(frozen=True)
class Turns:
    """How a side's turns go.

    Attributes:
        repeats: turns of each side.
        rest: seconds of sleep before a turn, in which the threads of the side before stop waiting for more work.
        burn_in: least seconds of running before the clock starts; one inference at least.
        seconds: least seconds on the clock; one inference at least.
    """

    repeats: int
    rest: float
    burn_in: float
    seconds: float


TURNS = Turns(repeats=9, rest=0.03, burn_in=0.05, seconds=0.25)


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some repeats."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Of one or more values."""
    return Spread(min(values), median(values), max(values))


@dataclass(frozen=True)
class Timing:
    """Images per second of both sides; entries at the same place were measured in the same round."""

    ours: list[float]
    peer: list[float]

    def ratios(self) -> list[float]:
        """Ours over the peer, round by round: slow drifts of the machine's speed cancel."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]


def take_turns(sides: Mapping[Key, Callable[[], T]], repeats: int, label: str) -> dict[Key, list[T]]:
    """What the turns of each side return, round by round; before the first, each has one that does not count."""
    for turn in sides.values():
        turn()
    found: dict[Key, list[T]] = {name: [] for name in sides}
    for _ in progress(range(repeats), repeats, label, unit="round"):
        for name, turn in sides.items():
            found[name].append(turn())
    return found


def time_sides(sides: Mapping[Key, Run], turns: Turns, label: str) -> dict[Key, list[list[float]]]:
    """Seconds of every inference of each side, turn by turn; the n-th turns of all belong to the same round."""
    return take_turns({name: _turn(run, turns) for name, run in sides.items()}, turns.repeats, label)


def images_per_second(timed: list[list[float]], batch: int) -> list[float]:
    """The speed of each turn: `timed` is a side's seconds, of inferences of `batch` images."""
    return [batch * len(seconds) / sum(seconds) for seconds in timed]


def _turn(run: Run, turns: Turns) -> Callable[[], list[float]]:
    def turn() -> list[float]:
        sleep(turns.rest)
        _run_for(turns.burn_in, run)
        return _run_for(turns.seconds, run)

    return turn


def _run_for(seconds: float, run: Run) -> list[float]:
    """Run until the time is over, once at least: how long each inference took."""
    found: list[float] = []
    start = before = perf_counter()
    while before - start < seconds or not found:
        run()
        now = perf_counter()
        found.append(now - before)
        before = now
    return found
