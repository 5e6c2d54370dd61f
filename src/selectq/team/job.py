"""One stage, run in a clone of a commit; what a machine of a cluster does."""

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from selectq.files import write_bytes
from selectq.team.dvc import COMMAND

LOG_LINES = 12


@dataclass(frozen=True)
class Job:
    """What to run, and how to get at what it needs: from the remote, where its outputs go too.

    Attributes:
        stage: full name, such as `qat@dw`.
        inputs: outputs of others that DVC does not pull by itself, see `pipeline.folder_inputs`.
        repository: what `git clone` takes.
        commit: what is run.
        folder: where clones are made.
        files: texts that are written over the clone's files, by path; DVC's settings, `.dvc/config.local`, for one.
        threads: how many the stage may use.
    """

    stage: str
    inputs: Sequence[str]
    repository: str
    commit: str
    folder: str
    files: dict[str, str]
    threads: int

    def of(self, stage: str, inputs: Sequence[str]) -> "Job":
        """The same job for another stage."""
        return dataclasses.replace(self, stage=stage, inputs=inputs)


@dataclass(frozen=True)
class Outcome:
    """Whether a stage is done, and the end of its log."""

    stage: str
    done: bool
    log: str


Engine = Callable[[Job], Outcome]
"""Does a job somewhere and waits for it; called from many threads."""


def work(job: Job) -> Outcome:
    """Do a job, its log in `<folder>/<stage>.log`; a command that fails ends it."""
    # DVC cannot pull a folder that several stages fill, and takes half of it for the whole.
    pull = [[*COMMAND, "pull", "--allow-missing", *job.inputs]] if job.inputs else []
    repro = [*COMMAND, "repro", "--pull", "--allow-missing", job.stage]
    push = [*COMMAND, "push", "--run-cache", job.stage]
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{job.stage}.log"
    with tempfile.TemporaryDirectory(prefix=f"{job.stage}-", dir=folder, ignore_cleanup_errors=True) as scratch:
        clone = Path(scratch) / "clone"
        with log.open("w", encoding="utf-8") as to:
            done = _clone(job, clone, to) and all(_run(job, command, clone, to) for command in (*pull, repro, push))
    return Outcome(job.stage, done, "\n".join(log.read_text(encoding="utf-8").rstrip().splitlines()[-LOG_LINES:]))


def _clone(job: Job, clone: Path, log: IO[str]) -> bool:
    cloning = ["git", "clone", "--quiet", "--no-checkout", job.repository, str(clone)]
    checking_out = ["git", "checkout", "--quiet", "--detach", job.commit]
    if not (_run(job, cloning, clone.parent, log) and _run(job, checking_out, clone, log)):
        return False
    for path, text in job.files.items():
        write_bytes(clone / path, text.encode())
    return True


def _run(job: Job, command: list[str], folder: Path, log: IO[str]) -> bool:
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads)}
    ran = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
    )
    return ran.returncode == 0
