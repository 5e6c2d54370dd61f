"""Files that the processes of one test run share: what takes long is made by the first that asks."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

FOLDER = "SELECTQ_TESTS_SHARE"
"""Environment variable: an empty folder of this run's, which tests/conftest.py makes and removes."""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name; `make` writes it where no process of this run has yet."""
    path = Path(os.environ[FOLDER], name)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            make(unfinished)
            unfinished.replace(path)
    return path
