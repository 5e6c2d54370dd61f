"""Faults that end processes: at random moments, and at every kind of moment at which they change the disk."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fault_demo import RUNNING, Demo
from fault_trials import MissedError, Site, wait_until_gone

HOOK = Path(__file__).resolve().parent / "fault_hook"

SOON_S = 0.002
"""A kill after a moment of writing comes at most so much later."""

LOCK_S = 0.3
"""DVC is killed within this time of opening `dvc.lock` to rewrite it, which takes it about as long."""

SOONER = 0.7
"""How much of the time that a stage takes is still believed once a kill in it came too late."""

Kill = Callable[[int], None]
"""Ends DVC, given its process id, which is its group's too."""


@dataclass(frozen=True)
class Moment:
    """A moment at which a process changes the disk.

    Attributes:
        process: `dvc` (whose moments count from the start of a stage) or `stage`.
        path: a regular expression for the changed path.
        number: which of those moments, from 1; 0 is none of them.
        how: `before` the change; `after` it, by `delay_s` seconds; `emptied`: the file is, and nothing more is done.
        delay_s: for `after`.
    """

    process: str
    path: str = ""
    number: int = 0
    how: str = "before"
    delay_s: float = 0.0

    def environment(self, demo: Demo) -> dict[str, str]:
        """What `fault_hook/sitecustomize.py` reads."""
        return {
            "PYTHONPATH": str(HOOK),
            "FAULT_PROCESS": self.process,
            "FAULT_FOLDER": str(demo.checkout),
            "FAULT_PATH": self.path,
            "FAULT_NUMBER": str(self.number),
            "FAULT_HOW": self.how,
            "FAULT_DELAY_S": str(self.delay_s),
            "FAULT_LOG": str(_moments_log(demo)),
        }


def kill_together(dvc: int) -> None:
    """SIGKILL to DVC and its stage."""
    os.killpg(dvc, signal.SIGKILL)


def kill_alone(dvc: int) -> None:
    """SIGKILL to DVC; its stage is to end by itself."""
    os.kill(dvc, signal.SIGKILL)


def interrupt(dvc: int) -> None:
    """SIGINT to DVC and its stage, as Ctrl-C in a terminal sends it."""
    os.killpg(dvc, signal.SIGINT)


def terminate(dvc: int) -> None:
    """SIGTERM to DVC."""
    os.kill(dvc, signal.SIGTERM)


def at_random(stages: list[str], kill: Kill) -> Callable[[Site, int], None]:
    """A fault: the stages in turns, each ended at a random moment between DVC's starting it and having saved it."""

    def inject(site: Site, number: int) -> None:
        stage = stages[number % len(stages)]
        site.forget(stage)
        with site.demo.start_stage(stage) as dvc:
            _wait_for_stage(site.demo, dvc, stage)
            time.sleep(site.chance.uniform(0, site.seconds[stage]))
            ended = dvc.poll() is not None
            if not ended:
                kill(dvc.pid)
                dvc.wait()
        wait_until_gone(dvc.pid)
        if ended or dvc.returncode == 0:
            site.seconds[stage] *= SOONER  # the machine is less busy than in the undisturbed run
            raise MissedError

    return inject


def _wait_for_stage(demo: Demo, dvc: subprocess.Popen[bytes], stage: str) -> None:
    while stage not in RUNNING.findall(demo.said()):
        if dvc.poll() is not None:
            raise MissedError
        time.sleep(0.02)


def at_moments(stage: str, moment: Moment, trials: int) -> Callable[[Site, int], None]:
    """A fault: a stage's run, or DVC's saving of it, killed at `trials` moments spread over those that `moment` means.

    The even ones just before the change, the odd ones shortly after it.
    """

    def inject(site: Site, number: int) -> None:
        count = len(moments(site, stage, moment))
        chosen = replace(moment, number=1 + (number * count // trials + site.chance.randrange(2)) % count)
        if number % 2:
            chosen = replace(chosen, how="after", delay_s=site.chance.uniform(0, SOON_S))
        _kill_at(site, stage, chosen)

    return inject


def while_writing_lock(stage: str) -> Callable[[Site, int], None]:
    """A fault: DVC killed while it rewrites `dvc.lock`."""

    def inject(site: Site, number: int) -> None:
        delay = site.chance.uniform(0, LOCK_S)
        _kill_at(site, stage, Moment("dvc", "/dvc.lock$", 1, "after", delay))

    return inject


def with_emptied_rwlock(stage: str) -> Callable[[Site, int], None]:
    """A fault: DVC killed when it has emptied its own lock file to rewrite it."""

    def inject(site: Site, number: int) -> None:
        _kill_at(site, stage, Moment("dvc", "/tmp/rwlock$", 1 + number, "emptied"))

    return inject


def with_empty_run_folder(stage: str) -> Callable[[Site, int], None]:
    """A fault: DVC killed when it has made a folder in its run cache, and before it writes an entry there."""

    def inject(site: Site, number: int) -> None:
        _kill_at(site, stage, Moment("dvc", r"/runs/.*\.tmp$", 1))

    return inject


def moments(site: Site, stage: str, moment: Moment) -> list[str]:
    """All moments of a stage's undisturbed run that `moment` may mean, as `event path`; found once for each demo."""
    key = (stage, moment.process, moment.path)
    if key not in site.moments:
        log = _moments_log(site.demo)
        log.unlink(missing_ok=True)
        site.forget(stage)
        with site.demo.start_stage(stage, moment.environment(site.demo)) as dvc:
            if dvc.wait():
                raise MissedError
        site.moments[key] = log.read_text(encoding="utf-8").splitlines()
    return site.moments[key]


def _kill_at(site: Site, stage: str, moment: Moment) -> None:
    _moments_log(site.demo).unlink(missing_ok=True)
    site.forget(stage)
    with site.demo.start_stage(stage, moment.environment(site.demo)) as dvc:
        status = dvc.wait()
    wait_until_gone(dvc.pid)
    if status == 0:
        raise MissedError


def _moments_log(demo: Demo) -> Path:
    return demo.root / "moments"
