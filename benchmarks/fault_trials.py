"""Trials of faults: what is done to the demo, and the verdict on what a plain `dvc repro` makes of it afterwards."""

import contextlib
import os
import queue
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fault_demo import Demo, Result, Traces, last_line

from selectq.errors import UserError

ENDING_S = 60
"""How long processes may take to end after a fault."""

ATTEMPTS = 8
"""How often a fault is tried that came too late, because what it was to hit had ended."""


class NotSurvivedError(Exception):
    """Something went wrong already while the fault was there; says what."""


class MissedError(Exception):
    """The fault came too late: there was nothing left to hit."""


@dataclass
class Site:
    """A demo in which everything has run, and what is known of the undisturbed run.

    Attributes:
        demo: the demo.
        healthy: a copy of its checkout.
        expected: what the run ended in.
        traces: what each stage left.
        seconds: how long each took, DVC's saving included; less, once that has turned out to be too long.
        chance: random numbers for the trial under way.
        moments: at which a stage, or DVC after it, changes the disk; by stage, process and part of a path.
    """

    demo: Demo
    healthy: Path
    expected: Result
    traces: Mapping[str, Traces]
    seconds: dict[str, float]
    chance: random.Random = field(default_factory=random.Random)
    moments: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def forget(self, stage: str) -> None:
        """Make the demo forget that a stage has run."""
        self.demo.forget(stage, self.traces[stage])

    def put_back(self) -> None:
        """Bring the demo back to health."""
        self.demo.put_back(self.healthy)


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        name: what is done, as the table says it.
        inject: does it, once, to a demo in which everything has run; gets the number of the trial, from 0.
        trials: how often.
        judge: why the trial was not survived, or nothing.
        clean: what is to be taken away after the verdict, so that the next trial can start.
    """

    name: str
    inject: Callable[[Site, int], None]
    trials: int
    judge: Callable[[Site], str]
    clean: Callable[[Site], None] = lambda site: None


@dataclass(frozen=True)
class Row:
    """What became of a fault's trials; a reason for each one that was not survived."""

    fault: str
    trials: int
    reasons: tuple[str, ...]

    @property
    def survived(self) -> int:
        """How many trials ended as if nothing had been."""
        return self.trials - len(self.reasons)


def run_fault(fault: Fault, sites: Sequence[Site]) -> Row:
    """Do all trials of a fault, as many at a time as there are sites."""
    free: queue.Queue[Site] = queue.Queue()
    for site in sites:
        free.put(site)

    def run(number: int) -> str:
        site = free.get()
        try:
            return try_once(fault, site, number)
        finally:
            free.put(site)

    with ThreadPoolExecutor(len(sites)) as pool:
        reasons = list(pool.map(run, range(fault.trials)))
    return Row(fault.name, fault.trials, tuple(filter(None, reasons)))


def try_once(fault: Fault, site: Site, number: int) -> str:
    """Do one trial; why it was not survived, or nothing. The demo is healthy afterwards.

    Raises:
        UserError: the fault always came too late.
    """
    for attempt in range(ATTEMPTS):
        site.chance = random.Random(f"{fault.name} {number} {attempt}")
        reason: str | None = None
        with contextlib.suppress(MissedError):
            reason = outcome(fault, site, number)
        fault.clean(site)
        if reason is None or reason:
            site.put_back()
        if reason is not None:
            return reason
    raise UserError(f"{fault.name}: came too late {ATTEMPTS} times in trial {number}")


def outcome(fault: Fault, site: Site, number: int) -> str:
    """Inject a fault; why it was not survived, or nothing.

    Raises:
        MissedError: it came too late.
    """
    try:
        fault.inject(site, number)
    except NotSurvivedError as error:
        return str(error)
    return fault.judge(site)


def after_repro(site: Site) -> str:
    """Run a plain `dvc repro`; why it does not end as the undisturbed run did, or nothing."""
    status = site.demo.repro()
    if status:
        return f"dvc repro ends with {status}: {first_error(site.demo.said())}"
    damaged = site.demo.damaged()
    if damaged:
        return f"{len(damaged)} files are damaged, {damaged[0]} first"
    return site.expected.difference(site.demo.result())


def after_mending(site: Site) -> str:
    """The same after `selectq verify --mend`."""
    mended = site.demo.selectq("verify", "--mend")
    if mended.returncode:
        return f"selectq verify --mend: {last_line(mended.stderr)}"
    return after_repro(site)


def survived_as_it_is(site: Site) -> str:
    """Nothing is wrong if the fault itself has met with nothing."""
    return ""


def first_error(text: str) -> str:
    """The first line that says that something is wrong, else the last line."""
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if line.lower().startswith("error")), last_line(text))


def wait_until_gone(session: int) -> None:
    """Wait for every process of a session to end.

    Raises:
        NotSurvivedError: some do not; they are killed.
    """
    deadline = time.monotonic() + ENDING_S
    while living(session):
        if time.monotonic() > deadline:
            for process in living(session):
                os.kill(process, signal.SIGKILL)
            raise NotSurvivedError(f"processes were left running for {ENDING_S} s")
        time.sleep(0.05)


def living(session: int) -> list[int]:
    """The processes of a session that have not ended, from /proc."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _lives_in(path, session)]


def _lives_in(stat: Path, session: int) -> bool:
    try:
        state, _, _, its_session = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[:4]
    except OSError:  # it has just ended
        return False
    return int(its_session) == session and state not in "ZX"
