"""What tables for readers are made of: headings, cells as text with their units, and notes."""

from dataclasses import dataclass, replace
from typing import Literal

NOTHING = "–"
MINUS = "−"


@dataclass(frozen=True)
class Column:
    """A heading, and what stands below it; `paper` are numbers of the paper's."""

    heading: str
    content: Literal["text", "number", "paper"]


@dataclass(frozen=True)
class Sheet:
    """A table as text, row by row, with notes; `marked` is the number of the row to choose, if there is one."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    marked: int | None = None


def without_empty_columns(sheet: Sheet) -> Sheet:
    """The sheet without the paper's columns where the paper has nothing."""
    kept = [
        place
        for place, column in enumerate(sheet.columns)
        if column.content != "paper" or any(row[place] != NOTHING for row in sheet.rows)
    ]
    columns = tuple(sheet.columns[place] for place in kept)
    return replace(sheet, columns=columns, rows=tuple(tuple(row[place] for place in kept) for row in sheet.rows))


def percent(value: float | None, decimals: int) -> str:
    """A percentage with its unit, a dash for None."""
    return NOTHING if value is None else f"{value:.{decimals}f} %"


def points(value: float | None) -> str:
    """A difference of percentages with its sign, a dash for None."""
    return NOTHING if value is None else f"{value:+.2f}".replace("-", MINUS)


def points_within(value: float | None, low: float | None, high: float | None) -> str:
    """A difference of percentages with its sign and its interval, a dash for None."""
    return NOTHING if value is None else f"{points(value)} [{points(low)}, {points(high)}]"
