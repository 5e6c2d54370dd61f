"""What tables for readers are made of: columns, cells as text with their units, and notes."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

NOTHING = "–"
MINUS = "−"


@dataclass(frozen=True)
class Column:
    """A heading, what stands below it, and how a row's cell is written; `paper` are numbers of the paper's."""

    heading: str
    content: Literal["text", "number", "paper"] = "text"
    cell: Callable[[Any], str] = str


def text_columns(*headings: str) -> list[Column]:
    """Columns of words, for rows of cells."""
    return [Column(heading) for heading in headings]


def number_columns(*headings: str) -> list[Column]:
    """Columns of numbers, for rows of cells."""
    return [Column(heading, "number") for heading in headings]


@dataclass(frozen=True)
class Table:
    """A table as text, row by row, with notes; `marked` is the number of the row to choose, if there is one."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    marked: int | None = None

    @classmethod
    def of(
        cls,
        title: str,
        columns: Iterable[Column],
        rows: Iterable[Any],
        notes: Iterable[str] = (),
        marked: int | None = None,
    ) -> "Table":
        """A table whose columns write the cells of `rows`; without the paper's columns where the paper has nothing."""
        rows = list(rows)
        written = [(column, [column.cell(row) for row in rows]) for column in columns]
        shown = [(column, cells) for column, cells in written if column.content != "paper" or {*cells} != {NOTHING}]
        cells = tuple(zip(*(cells for _, cells in shown), strict=True))
        return cls(title, tuple(column for column, _ in shown), cells, tuple(notes), marked)


def percent(value: float | None, decimals: int) -> str:
    """A percentage with its unit, a dash for None and nan."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{decimals}f} %"


def points(value: float | None) -> str:
    """A difference of percentages with its sign, a dash for None and nan."""
    return NOTHING if value is None or math.isnan(value) else f"{value:+.2f}".replace("-", MINUS)


def points_within(value: float, low: float, high: float) -> str:
    """A difference of percentages with its sign and its interval."""
    return f"{points(value)} [{points(low)}, {points(high)}]"


def megabytes(size_bytes: int) -> str:
    """Bytes in units of 1,000,000."""
    return f"{size_bytes / 1e6:.2f} MB"


def kilobytes(size_bytes: int | None) -> str:
    """Bytes in units of 1,000, a dash for None."""
    return NOTHING if size_bytes is None else f"{size_bytes / 1000:,.1f} kB"
