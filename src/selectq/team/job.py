"""One stage, run in a clone of a commit; what a machine of a cluster does."""

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from selectq.files import write_bytes
from selectq.team.dvc import COMMAND

LOG_LINES = 12


@dataclass(frozen=True)
class Job:
    """What to run, and how to get at what it needs.

    Attributes:
        stage: full name, such as `qat@dw`.
        repository: what `git clone` takes.
        commit: what is run.
        folder: where clones are made.
        files: texts that are written over the clone's files, by path; DVC's settings, `.dvc/config.local`, for one.
        environment: variables for DVC and the stage, beside those of the machine.
        threads: how many the stage may use.
        push: whether what is needed comes from the remote and outputs go there; else both are in a shared cache.
    """

    stage: str
    repository: str
    commit: str
    folder: str
    files: dict[str, str]
    environment: dict[str, str]
    threads: int
    push: bool

    def of(self, stage: str) -> "Job":
        """The same job for another stage."""
        return dataclasses.replace(self, stage=stage)


@dataclass(frozen=True)
class Outcome:
    """Whether a stage is done, and the end of its log."""

    stage: str
    done: bool
    log: str


Engine = Callable[[Job], Outcome]
"""Does a job somewhere and waits for it; called from many threads."""

Run = Callable[[list[str], Path, Mapping[str, str], IO[str] | None], int]
"""Runs a command in a folder and an environment, its output going to a file or passed through; its exit status."""


def run_to_its_end(command: list[str], folder: Path, environment: Mapping[str, str], log: IO[str] | None) -> int:
    """As `Run`."""
    ran = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
    )
    return ran.returncode


def work(job: Job, run: Run = run_to_its_end) -> Outcome:
    """Do a job by `run`, its log in `<folder>/<stage>.log`; a command that fails ends it."""
    pulling = ["--pull", "--allow-missing"] if job.push else []
    pushing = [[*COMMAND, "push", "--run-cache", job.stage]] if job.push else []
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{job.stage}.log"
    with tempfile.TemporaryDirectory(prefix=f"{job.stage}-", dir=folder, ignore_cleanup_errors=True) as scratch:
        clone = Path(scratch) / "clone"
        with log.open("w", encoding="utf-8") as to:
            done = _clone(job, clone, to, run) and all(
                run(command, clone, _environment(job), to) == 0
                for command in ([*COMMAND, "repro", *pulling, job.stage], *pushing)
            )
    return Outcome(job.stage, done, "\n".join(log.read_text(encoding="utf-8").rstrip().splitlines()[-LOG_LINES:]))


def _clone(job: Job, clone: Path, log: IO[str], run: Run) -> bool:
    cloning = ["git", "clone", "--quiet", "--no-checkout", job.repository, str(clone)]
    checking_out = ["git", "checkout", "--quiet", "--detach", job.commit]
    if run(cloning, clone.parent, _environment(job), log) or run(checking_out, clone, _environment(job), log):
        return False
    for path, text in job.files.items():
        write_bytes(clone / path, text.encode())
    return True


def _environment(job: Job) -> dict[str, str]:
    return {**os.environ, **job.environment, "OMP_NUM_THREADS": str(job.threads)}
