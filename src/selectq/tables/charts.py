"""What all charts of the report are made of: a picture with its words, rows, and curves by name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from selectq.tables.looks import Look, assign_looks
from selectq.tables.svg import LINE, WIDTH, Scale, line, marker, series, text

ROOM = 12
"""Right of a panel."""

TOP, BOTTOM = 24, 210
"""Of the panel of a chart that has one."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One picture: SVG elements on WIDTH x `height`, what is `seen` in it in words, and the looks that it explains."""

    heading: str
    seen: str
    caption: str
    height: float
    elements: Sequence[str]
    legend: dict[str, Look] = field(default_factory=dict)


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table, by column."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def by(column: str, rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by what stands in a column, in the order in which it first occurs."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[column]), []).append(row)
    return found


def ends(rows: Iterable[Row], column: str) -> tuple[Row, Row]:
    """The rows of the lowest and of the highest value."""
    ordered = sorted(rows, key=lambda row: float(row[column]))
    return ordered[0], ordered[-1]


def looks_of(column: str, rows: Iterable[Row]) -> dict[str, Look]:
    """A look for everything that stands in a column."""
    return assign_looks(by(column, rows))


def axis_labels(x: Scale, y: Scale, below: str, beside: str) -> list[str]:
    """What the axes show: above the vertical one, and below the right end of the other."""
    return [text(2, y.end - 10, beside, css="label"), text(x.end, y.start + 2.2 * LINE, below, "end", "label")]


def fp32_line(x: Scale, y: Scale, top1: float) -> list[str]:
    """The FP32 network's accuracy across a panel."""
    return [line([(x.start, y(top1)), (x.end, y(top1))], "zero"), text(x.end, y(top1) - 5, "FP32", "end", "label")]


@dataclass(frozen=True)
class Curves:
    """How rows are drawn as curves: by the columns of their name and of their place, and what is told of a point."""

    name: str
    x: tuple[str, Scale]
    y: tuple[str, Scale]
    told: Callable[[Row], str]
    size: float = 4
    css: str = "solid"

    def draw(self, rows: Iterable[Row], looks: dict[str, Look]) -> list[str]:
        """A line with a marker at each point, for every name; of a single point the marker alone."""
        (across, x), (up, y) = self.x, self.y
        drawn = []
        for name, of_name in by(self.name, rows).items():
            ordered = sorted(of_name, key=lambda row: float(row[across]))
            places = [(x(row[across]), y(row[up])) for row in ordered]
            joined = [line(places, self.css, looks[name].colour)] if len(places) > 1 else []
            points = [
                marker(place, looks[name], self.told(row), self.size)
                for place, row in zip(places, ordered, strict=True)
            ]
            drawn.append(series(name, [*joined, *points]))
        return drawn


def beneath(y: Scale) -> float:
    """The height of a chart whose lowest panel has this vertical scale, with words and a label below."""
    return y.start + 2.6 * LINE


RIGHT = WIDTH - ROOM
