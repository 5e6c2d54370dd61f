"""Any number of sides timed in turns in one process, so that what else the machine does hits all alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

from selectq.progress import progress

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


def time_sides(sides: Mapping[str, Run], images: int, turns: Turns, label: str) -> dict[str, list[float]]:
    """Images/s of each side, turn by turn; entries at the same place belong to the same round.

    Before the first round every side has a turn that does not count.

    Args:
        sides: name -> one inference of `images` images.
        images: of one inference.
        turns: how often and how long.
        label: of the progress bar.
    """
    for run in sides.values():
        _images_per_second(run, images, turns)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in progress(range(turns.repeats), turns.repeats, label, unit="round"):
        for name, run in sides.items():
            speeds[name].append(_images_per_second(run, images, turns))
    return speeds


def _images_per_second(run: Run, images: int, turns: Turns) -> float:
    sleep(turns.rest)
    _run_for(turns.burn_in, run)
    inferences, seconds = _run_for(turns.seconds, run)
    return images * inferences / seconds


def _run_for(seconds: float, run: Run) -> tuple[int, float]:
    """Run until the time is over, once at least: how often, and how long it really took."""
    inferences, start = 0, perf_counter()
    while True:
        run()
        inferences += 1
        elapsed = perf_counter() - start
        if elapsed >= seconds:
            return inferences, elapsed
