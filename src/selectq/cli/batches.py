"""Images in batches, with a progress bar."""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil
from typing import TypeVar

from selectq.progress import progress

BATCH = 250
"""Images in one batch at most."""

T = TypeVar("T")


def in_batches(items: Iterable[T], count: int, label: str) -> Iterator[list[T]]:
    """`count` items as lists of up to `BATCH`; a progress bar called `label` where there is more than one list."""
    iterator = iter(items)
    lists = iter(lambda: list(islice(iterator, BATCH)), [])
    total = ceil(count / BATCH)
    return iter(progress(lists, total, label)) if total > 1 else lists
