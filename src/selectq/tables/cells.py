"""What tables for readers are made of: headings, cells as text with their units, and notes."""

from dataclasses import dataclass
from typing import Literal

NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A heading, and what stands below it; `paper` are numbers of the paper's."""

    heading: str
    content: Literal["text", "number", "paper"]


@dataclass(frozen=True)
class Sheet:
    """A table as text, row by row, with notes."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def percent(value: float | None, decimals: int) -> str:
    """A percentage with its unit, a dash for None."""
    return NOTHING if value is None else f"{value:.{decimals}f} %"


def points(value: float | None) -> str:
    """A difference of percentages with its sign, a dash for None."""
    return NOTHING if value is None else f"{value:+.2f}"


def points_within(value: float | None, low: float | None, high: float | None) -> str:
    """A difference of percentages with its sign and its interval, a dash for None."""
    return NOTHING if value is None else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def p_value(value: float | None) -> str:
    """A p value with two significant digits, a dash for None; what is no longer a float is below 1e-300."""
    if value is None:
        return NOTHING
    return f"{value:#.2g}" if value else "<1e-300"
