"""Progress bars; they never change a result."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str, unit: str = "batch") -> "tqdm[T]":
    """`items` with a bar on standard error: smooth at a terminal, a line now and then in a log."""
    seconds = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, total=total, desc=label, unit=unit, mininterval=seconds, dynamic_ncols=True, leave=True)
