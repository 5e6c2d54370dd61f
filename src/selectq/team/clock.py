"""How far a parallel run is, and how long the rest takes."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from selectq.seconds import recorded_seconds

Branch = tuple[str, ...]
"""Names of stages that run one after another."""


class Clock:
    """Says, as each branch ends, how many have, and the time left where earlier runs tell it.

    The rest takes as long as it took `before`, times the ratio so far of this run's seconds to those.
    """

    def __init__(self, folder: Path, branches: Sequence[Branch], jobs: int, before: Mapping[str, float]) -> None:
        self._folder, self._jobs, self._before = folder, jobs, before
        self._left, self._count = set(branches), len(branches)
        self._began, self._lock = monotonic(), threading.Lock()

    def said_when_ended(self, branch: Branch) -> str:
        """One line; called from many threads."""
        with self._lock:
            self._left.discard(branch)
            done, minutes = self._count - len(self._left), (monotonic() - self._began) / 60
            left = self._seconds_left() / 60
        rest = f", about {left:.0f} min left" if left else ""
        return f"[{done}/{self._count}] {' '.join(branch)}: {minutes:.0f} min{rest}"

    def _seconds_left(self) -> float:
        waiting = {stage for branch in self._left for stage in branch}
        now = recorded_seconds(self._folder, self._before.keys() - waiting)
        ratio = sum(seconds for seconds, _ in now.values()) / (sum(self._before[stage] for stage in now) or 1.0)
        return ratio * sum(self._before.get(stage, 0.0) for stage in waiting) / self._jobs
