"""Colour and marker of everything that charts tell apart: by its name alone, so in every chart and every study."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path

import pandas as pd

MARKERS = {
    "circle": "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "square": "M-.88,-.88H.88V.88H-.88Z",
    "diamond": "M0,-1.25L1.05,0L0,1.25L-1.05,0Z",
    "triangle-up": "M0,-1.15L1.1,.85H-1.1Z",
    "triangle-down": "M0,1.15L1.1,-.85H-1.1Z",
    "triangle-right": "M1.15,0L-.85,1.1V-1.1Z",
    "triangle-left": "M-1.15,0L.85,1.1V-1.1Z",
    "cross": "M-.38,-1.15H.38V-.38H1.15V.38H.38V1.15H-.38V.38H-1.15V-.38H-.38Z",
}
"""Marker, by the name that Vega knows it by -> its outline about the origin, about as large as a circle of radius 1."""


@dataclass(frozen=True)
class Look:
    """A colour that is readable on white and on black, and a marker."""

    colour: str
    marker: str


def assign_looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name: that of `looks.csv`, or one of those left over that the name's hash picks.

    No two names share one look until all are taken; the hash decides where `looks.csv` does not know a name, so that a
    study's further names do not change it (but where two hashes fall on one look).
    """
    asked, known = dict.fromkeys(names), _known_looks()
    colours = dict.fromkeys(look.colour for name, look in known.items() if name != "fp32")
    left = [Look(*look) for look in product(colours, MARKERS) if Look(*look) not in known.values()]
    chosen: dict[str, Look] = {}
    for name in sorted(asked.keys() - known):
        start = int(sha256(name.encode()).hexdigest(), 16) % len(left)
        in_turn = [*left[start:], *left[:start]]
        chosen[name] = next((look for look in in_turn if look not in chosen.values()), in_turn[0])
    return {name: (known | chosen)[name] for name in asked}


def with_looks(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with columns colour and marker for what its `column` names: `dvc plots` draws by them."""
    looks = assign_looks(table[column])
    chosen = [looks[name] for name in table[column]]
    return table.assign(colour=[look.colour for look in chosen], marker=[look.marker for look in chosen])


def _known_looks() -> dict[str, Look]:
    with Path(__file__).with_name("looks.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: Look(row["colour"], row["marker"]) for row in csv.DictReader(file)}
