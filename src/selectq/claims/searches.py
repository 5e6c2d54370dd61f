"""Which learning rates were tried on the validation images, and which were not."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from selectq.claims.settings import (
    PLAIN,
    RANDOM_LAYERS,
    SKEWED,
    W4A4,
    W4A4_MIXED,
    W4A8_PRETRAINED,
    Measured,
    Setting,
)
from selectq.tables.cells import Column
from selectq.tables.evidence import read_table
from selectq.tables.markdown import markdown_table

SEARCHES = {
    PLAIN: "search",
    SKEWED: "search_skewed",
    W4A4: "search_few_bits",
    W4A8_PRETRAINED: "search_pretrained_w4a8",
    W4A4_MIXED: "search_widths",
}
SCHEME = ["scope", "weight_bits", "activation_bits", "symmetric", "epochs"]
SEARCH_COLUMNS = {"config": str, **dict.fromkeys(SCHEME, str), "lr": float, "validation_top1": float}
COLUMNS = tuple(Column(heading, "text") for heading in ("Setting", "Configuration", "Validation top-1 at", "Best at"))


def read_searches(checkout: Path) -> dict[Setting, pd.DataFrame]:
    """Every training of a search, by setting.

    Raises:
        UserError: a table is missing or damaged.
    """
    tables = {
        setting: read_table(checkout / "results" / name / "validation.csv", SEARCH_COLUMNS, None, ("lr",))
        for setting, name in SEARCHES.items()
    }
    return {setting: table[table["lr"].notna()] for setting, table in tables.items()}


def rates_table(searches: Mapping[Setting, pd.DataFrame]) -> list[str]:
    """The lines of a table of all rates that were tried of one configuration."""
    rows = [(setting.short, *_cells(tried)) for setting, table in searches.items() for tried in _searched(table)]
    return markdown_table(COLUMNS, rows)


def search_figures(searches: Mapping[Setting, pd.DataFrame], runs: Mapping[Setting, Measured]) -> dict[str, str]:
    """What was not searched, and the skews."""
    missing: dict[str, list[str]] = {}
    for setting, table in searches.items():
        found = {name for tried in _searched(table) for name in tried["config"]}
        names = [name for name in runs[setting].configurations() if runs[setting].name(name) not in found]
        missing[setting.short] = [name for name in names if runs[setting].figure(name, "params_retrained_pct")]
    skews = sorted({float(run.params["range_skew"]) for run in runs.values()} - {0.0})
    return {
        "unsearched": "; ".join(f"{short}: {', '.join(names)}" for short, names in missing.items() if names),
        "without_search": ", ".join(one.short for one in runs if one not in searches and one not in RANDOM_LAYERS),
        "skews": " and ".join(f"{skew:g}" for skew in skews),
    }


def _searched(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The trainings of each configuration that was trained at several rates."""
    return [tried for _, tried in table.groupby(SCHEME, sort=False) if len(tried) > 1]


def _cells(tried: pd.DataFrame) -> tuple[str, str, str]:
    name, rows = str(tried["config"].iloc[0]), tried.sort_values("lr")
    rates, top1 = rows["lr"].to_list(), rows["validation_top1"].to_list()
    best = rates[top1.index(max(top1))]
    edge = ", edge" if best in (rates[0], rates[-1]) else ""
    all_rates = ", ".join(f"{lr:g}: {accuracy:.2f} %" for lr, accuracy in zip(rates, top1, strict=True))
    return name, all_rates, f"{best:g}{edge}"
