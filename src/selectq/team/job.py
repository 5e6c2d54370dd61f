"""One stage, run in a clone of a commit; what a machine of a cluster does."""

import dataclasses
import os
import subprocess
import tempfile
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


def work(job: Job) -> Outcome:
    """Do a job, its log in `<folder>/<stage>.log`; a command that fails ends it."""
    pulling = ["--pull", "--allow-missing"] if job.push else []
    pushing = [[*COMMAND, "push", "--run-cache", job.stage]] if job.push else []
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{job.stage}.log"
    with tempfile.TemporaryDirectory(prefix=f"{job.stage}-", dir=folder, ignore_cleanup_errors=True) as scratch:
        clone = Path(scratch) / "clone"
        with log.open("w", encoding="utf-8") as to:
            done = _clone(job, clone, to) and all(
                _run(job, command, clone, to) for command in ([*COMMAND, "repro", *pulling, job.stage], *pushing)
            )
    return Outcome(job.stage, done, "\n".join(log.read_text(encoding="utf-8").rstrip().splitlines()[-LOG_LINES:]))


def _clone(job: Job, clone: Path, log: IO[str]) -> bool:
    if not _run(job, ["git", "clone", "--quiet", "--no-checkout", job.repository, str(clone)], clone.parent, log):
        return False
    if not _run(job, ["git", "checkout", "--quiet", "--detach", job.commit], clone, log):
        return False
    for path, text in job.files.items():
        write_bytes(clone / path, text.encode())
    return True


def _run(job: Job, command: list[str], folder: Path, log: IO[str]) -> bool:
    environment = {**os.environ, **job.environment, "OMP_NUM_THREADS": str(job.threads)}
    ran = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
    )
    return ran.returncode == 0
