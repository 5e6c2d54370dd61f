"""Plant small mutants in `src/` and `stages/`, one at a time, and see which of them the tests notice.

    python tests/mutations/run.py [NAME ...] [--again] [--jobs 2]

Each mutant of `mutants.py` is planted in a private copy of the checkout, where the fast tests that should notice it run
until one fails; what noticed it must pass without it. A mutant with a row in `results.csv` is left out, so that a
stopped run goes on where it was; `--again` repeats it, and begins with the test that noticed it before.
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import pytest
from mutant_results import read_results, write_results
from mutants import CHECKOUT, MUTANTS, Mutant

AT_ONCE = 40
"""Mutants are tried before the tests that noticed them, and their rows are written."""

TIMEOUT = 300
"""Seconds for the tests of one mutant: what makes a test hang is noticed, too."""

HEAVY = (
    "torch",
    "torchvision",
    "torch.export",
    "onnx",
    "onnxruntime",
    "pandas",
    "scipy.stats",
    "sklearn.datasets",
    "PIL",
)
"""Packages that nearly all tests import: here once, and each mutant's process begins as a copy of this one."""

_fork = multiprocessing.get_context("fork")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants, in quotes; without one, all")
    parser.add_argument("--again", action="store_true", help="those with a result, too")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    options = parser.parse_args()
    known = read_results()
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    waiting = [mutant for mutant in chosen if options.again or not known.get(mutant.name, "")]
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    for package in HEAVY:
        importlib.import_module(package)
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copies = [copy_checkout(Path(folder) / str(number)) for number in range(options.jobs)]
        while waiting:
            tried, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            found = dict(plant(tried, copies, known))
            for test in Trial.begin([[by for by in found.values() if is_test(by)]], copies[0], "0").wait():
                print(f"WRONG     {test} fails without a mutant")
                found = {name: "" if by == test else by for name, by in found.items()}
            known |= found
            write_results(known)
    noticed = sum(bool(known.get(mutant.name)) for mutant in MUTANTS)
    print(f"{noticed} of {len(MUTANTS)} mutants are noticed")


def copy_checkout(folder: Path) -> Path:
    """All files that git knows or would add, as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    return folder


def is_test(by: str) -> bool:
    """Or else the process that ran tests ended otherwise."""
    return by.startswith("tests/")


def plant(mutants: Sequence[Mutant], copies: Sequence[Path], known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each mutant's name, and the test that failed, nothing if none did; first that which is known to have noticed."""
    waiting, running = deque(mutants), dict[Path, tuple[Mutant, str, Trial]]()
    while waiting or running:
        for copy in copies:
            if copy in running and running[copy][2].is_over():
                mutant, healthy, trial = running.pop(copy)
                (copy / mutant.file).write_text(healthy, encoding="utf-8")
                by = next(iter(trial.wait()), "")
                print(f"{'noticed' if by else 'SURVIVES':8}  {mutant.name}  {by}", flush=True)
                yield mutant.name, by
            if waiting and copy not in running:
                mutant = waiting.popleft()
                healthy = (copy / mutant.file).read_text(encoding="utf-8")
                (copy / mutant.file).write_text(mutant.harmed(healthy), encoding="utf-8")
                first = [by for by in [known.get(mutant.name, "")] if is_test(by)]
                running[copy] = mutant, healthy, Trial.begin([first, mutant.tests], copy, "1")
        time.sleep(0.05)


@dataclass(frozen=True)
class Trial:
    """Tests that run in a process of their own, in a copy of the checkout."""

    process: BaseProcess
    failed: Connection
    deadline: float

    @classmethod
    def begin(cls, rounds: Sequence[Sequence[str]], copy: Path, most_failures: str) -> "Trial":
        """Start the tests, round by round; they end after so many failures (0: go on)."""
        receiver, sender = _fork.Pipe(duplex=False)
        process = _fork.Process(target=run_tests, args=(rounds, copy, most_failures, sender))
        process.start()
        sender.close()
        return cls(process, receiver, time.monotonic() + TIMEOUT)

    def is_over(self) -> bool:
        """Whether the tests ended, or had time enough."""
        return not self.process.is_alive() or time.monotonic() > self.deadline

    def wait(self) -> list[str]:
        """The tests that failed; a word for what happened if there was no test to blame."""
        self.process.join(max(0, self.deadline - time.monotonic()))
        if self.process.is_alive():
            os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.join()
            return ["timeout"]
        try:
            return list(self.failed.recv())
        except EOFError:
            return [f"the process ended with status {self.process.exitcode}"]


def run_tests(rounds: Sequence[Sequence[str]], copy: Path, most_failures: str, failed: Connection) -> None:
    """Run in the process of a trial: send the names of the tests that fail."""
    os.setsid()
    os.chdir(copy)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy / "src"), *(entry for entry in sys.path if Path(entry) != Path(__file__).parent)]
    for name in ("mutants", "mutant_results"):
        sys.modules.pop(name)
    sys.modules["__main__"] = ModuleType("__main__")  # processes that tests spawn would begin with this script
    failures = Failures()
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--maxfail", most_failures]
    for tests in rounds:
        status = pytest.main([*options, *tests], plugins=[failures]) if tests and not failures.names else 0
        if status and not failures.names and tests is rounds[-1]:  # before, a test may have gone
            failures.names.append(f"pytest's exit status {int(status)}")
    failed.send(failures.names)
    failed.close()
    os._exit(0)


class Failures:
    """The names of the tests, or files of tests, that failed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each test's preparation, run and end."""
        if report.failed:
            self.names.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Called by pytest for each file."""
        if report.failed:
            self.names.append(report.nodeid)


if __name__ == "__main__":
    main()
