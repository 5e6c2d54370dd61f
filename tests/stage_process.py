"""Stages and commands in a copy of this process, which has their packages loaded: a new one would take seconds to."""

import multiprocessing
import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Ended:
    """How stages ended."""

    status: int | None
    out: str
    err: str


def run_stage(stage: str, *arguments: str, folder: Path, **environment: str) -> Ended:
    """Run a stage in `folder`, which sees only what a process of its own would leave behind."""
    return run_stages((stage, *arguments), folder=folder, **environment)


def run_stages(*commands: tuple[str, ...], folder: Path, **environment: str) -> Ended:
    """Run stages, each with its arguments, one after another in the same process, until one fails."""
    return run_copied(lambda: _run_scripts(commands), folder, environment)


def run_copied(work: Callable[[], object], folder: Path, environment: Mapping[str, str]) -> Ended:
    """Run `work` in a copy of this process, in `folder` and with more environment variables."""
    with tempfile.TemporaryDirectory() as said:
        out, err = Path(said, "out"), Path(said, "err")
        process = _fork.Process(target=_run, args=(work, folder, environment, (out, err)))
        process.start()
        process.join()
        return Ended(process.exitcode, out.read_text(), err.read_text())


def _run(work: Callable[[], object], folder: Path, environment: Mapping[str, str], said: tuple[Path, Path]) -> None:
    os.chdir(folder)
    os.environ |= environment
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)  # pytest had put its own there
    with warnings.catch_warnings(action="ignore"):  # tests make errors of them
        work()


def _run_scripts(commands: tuple[tuple[str, ...], ...]) -> None:
    """Each script as the main program."""
    sys.path.insert(0, str(CHECKOUT / "stages"))
    for stage, *arguments in commands:
        sys.argv = [str(CHECKOUT / "stages" / f"{stage}.py"), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")
