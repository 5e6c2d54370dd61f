"""How many weights oscillate in the last epoch of QAT, by kind of layer."""

import pandas as pd

from selectq.params.configs import LAYER_KINDS
from selectq.tables.cells import NOTHING, Column, Sheet, percent

ALL = "all"
"""Stands for the kinds taken together."""


def oscillation_by_kind(oscillation: pd.DataFrame) -> pd.DataFrame:
    """Counts by layer, as the training stages write them, added up.

    Returns:
        Columns config, layer_kind (or `all`), weights (how many learn), flipped_pct and oscillating_pct: of these, the
        percentages whose integer code changed, and changed back.
    """
    layers = oscillation.assign(
        flipped=oscillation["flipped_pct"] * oscillation["weights"],
        oscillating=oscillation["oscillating_pct"] * oscillation["weights"],
    )
    together = pd.concat([layers, layers.assign(layer_kind=ALL)])
    sums = together.groupby(["config", "layer_kind"], sort=False)[["weights", "flipped", "oscillating"]].sum()
    table = sums.reset_index()
    for what in ("flipped", "oscillating"):
        table[f"{what}_pct"] = table[what] / table["weights"]
    return table[["config", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]]


def oscillation_sheet(by_kind: pd.DataFrame) -> Sheet:
    """The same for readers: a row for each configuration, a column for each kind."""
    kinds = [kind for kind in (*LAYER_KINDS, ALL) if kind in set(by_kind["layer_kind"])]
    columns = (Column("Config", "text"), *(Column(kind.capitalize(), "number") for kind in kinds))
    rows = tuple(
        (str(config), *(_cell(of_config[of_config["layer_kind"] == kind]) for kind in kinds))
        for config, of_config in by_kind.groupby("config", sort=False)
    )
    return Sheet("Oscillation: weights that jump back and forth between integer codes", columns, rows, NOTES)


NOTES = (
    "In the last epoch of retraining, of the weights that learn: how many change their integer code and later change"
    " it back (in brackets: how many change it at all).",
    "A code changes where the weight moves over a rounding threshold, or the scale, which follows the largest weight,"
    " moves under it. Oscillation: Nagel et al. 2022.",
)


def _cell(of_kind: pd.DataFrame) -> str:
    if of_kind.empty:
        return NOTHING
    oscillating, flipped = of_kind[["oscillating_pct", "flipped_pct"]].iloc[0].tolist()
    return f"{percent(oscillating, 1)} ({percent(flipped, 1)})"
