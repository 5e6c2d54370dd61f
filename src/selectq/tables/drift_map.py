"""Heat maps of drift: kinds of layers in rows, depth in columns (what the paper's section 6.1 proposes)."""

import math
from collections.abc import Sequence

import pandas as pd

from selectq.tables.charts import Chart, Row, by, ends, rows_of
from selectq.tables.error_charts import CAUSE_KINDS, DRIFT_KINDS
from selectq.tables.svg import LINE, WIDTH, rectangle, text, width_of

BLOCK = "block"
LEAST = 1e-3
"""Drift that has the lightest colour, and all below it."""

HEIGHT = 22.0
ROOM_FOR_NUMBERS = 26.0
"""A column that is wider shows the drift in percent."""


def drift_maps(drift: pd.DataFrame, configs: Sequence[str]) -> list[Chart]:
    """A map for each configuration and kind of drift."""
    rows = [row for row in with_places(rows_of(drift)) if row["config"] in configs]
    ordered = sorted(rows, key=lambda row: (configs.index(row["config"]), row["kind"] != "accumulated"))
    return [
        _map(config, kind, of_kind)
        for config, of_config in by("config", ordered).items()
        for kind, of_kind in by("kind", of_config).items()
    ]


def with_places(rows: list[Row]) -> list[Row]:
    """The rows of layers, each with the number of its block as `place`: one that is in none stands behind them all,
    but an elementwise function with the layer that it follows."""
    blocks = {row["layer"]: row["index"] for row in rows if row["layer_kind"] == BLOCK}
    placed: list[Row] = []
    for row in rows:
        if row["layer_kind"] == BLOCK:
            continue
        parts = row["layer"].split(".")
        around = [path for path in (".".join(parts[:end]) for end in range(len(parts), 0, -1)) if path in blocks]
        follows = placed and row["layer_kind"] in ("lookup", "product")
        place = blocks[around[0]] if around else placed[-1]["place"] if follows else len(blocks)
        placed.append({**row, "place": place})
    return placed


def by_kind_and_place(rows: list[Row]) -> dict[tuple[str, int], float]:
    """Kind of layer and number of its block -> root mean square of the drift of such layers."""
    squares: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        squares.setdefault((row["layer_kind"], row["place"]), []).append(row["drift"] ** 2)
    return {cell: math.sqrt(sum(found) / len(found)) for cell, found in squares.items()}


def _map(config: str, kind: str, rows: list[Row]) -> Chart:
    cells = by_kind_and_place(rows)
    kinds = [name for name in CAUSE_KINDS if name in by("layer_kind", rows)]
    columns = max(place for _, place in cells) + 1
    left, top = 10 + max(map(width_of, kinds)), 4.0
    width = (WIDTH - left - 2) / columns
    darkest = max([2 * LEAST, *cells.values()])
    drawn = [text(left - 8, top + HEIGHT * (row + 0.5) + 4, name, "end") for row, name in enumerate(kinds)]
    for (name, place), drift in cells.items():
        x, y = left + width * place, top + HEIGHT * kinds.index(name)
        share = math.log(max(drift, LEAST) / LEAST) / math.log(darkest / LEAST)
        told = f"{config}, block {place}, {name}: {drift:.4f}"
        drawn.append(rectangle((x, y), (width - 1, HEIGHT - 1), f'class="cell" fill-opacity="{share:.2f}"', told))
        if width >= ROOM_FOR_NUMBERS and drift >= LEAST:
            number, css = f"{100 * drift:.{0 if drift >= 0.1 else 1}f}", "light" if share > 0.6 else "small"
            drawn.append(text(x + width / 2, y + HEIGHT / 2 + 4, number, "middle", css))
    bottom = top + HEIGHT * len(kinds)
    for place in range(0, columns, max(1, math.ceil(16 / width))):
        drawn.append(text(left + width * (place + 0.5), bottom + LINE, str(place), "middle", "small"))
    drawn.append(text(WIDTH - 2, bottom + 2.2 * LINE, "block, in order of execution", "end", "label"))
    highest = "{layer_kind} in block {place}, {drift:.3f} ({layer})".format(**ends(rows, "drift")[1])
    return Chart(
        f"{config}: drift by kind and depth, {kind}",
        f"Largest: {highest}.",
        f"{DRIFT_KINDS[kind]} Root mean square over the layers of a kind in a block, logarithmic: white is up to"
        f" {LEAST:g}, the darkest {darkest:.3f}; numbers are percent.",
        bottom + 2.6 * LINE,
        drawn,
    )
