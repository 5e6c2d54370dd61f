"""Which learning rates were tried on the validation images, and which were not."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from selectq.claims.catalogue import catalogue
from selectq.claims.measured import Runs
from selectq.report.formatting import text_columns
from selectq.report.markdown import markdown_table
from selectq.statistics.schemas import VALIDATION

SCHEME = ["scope", "weight_bits", "activation_bits", "symmetric", "epochs"]

Searches = Mapping[str, pd.DataFrame]
"""What was trained in a search, by setting."""


def read_searches(checkout: Path) -> dict[str, pd.DataFrame]:
    """Every row of every search.

    Raises:
        UserError: a table is missing or damaged.
    """
    return {
        setting: VALIDATION.read(checkout / "results" / folder / "validation.csv")
        for setting, folder in catalogue().searches.items()
    }


def rates_table(searches: Searches) -> list[str]:
    """The lines of a table of all rates that were tried of one configuration."""
    rows = [
        (catalogue().settings[setting].short, *_cells(tried))
        for setting, table in searches.items()
        for tried in _searched(table)
    ]
    return markdown_table(text_columns("Setting", "Configuration", "Validation top-1 at", "Best at"), rows)


def search_figures(searches: Searches, runs: Runs) -> dict[str, str]:
    """What was not searched, and the skews."""
    missing: dict[str, list[str]] = {}
    for setting, table in searches.items():
        run, found = runs[setting], {name for tried in _searched(table) for name in tried["config"]}
        names = [name for name in run.configurations() if run.name(name) not in found]
        missing[run.setting.short] = [name for name in names if run.figure(name, "params_retrained_pct")]
    searched = {*searches, *catalogue().of_group("Random layers as controls")}
    skews = sorted({float(run.params["range_skew"]) for run in runs.values()} - {0.0})
    return {
        "unsearched": "; ".join(f"{short}: {', '.join(names)}" for short, names in missing.items() if names),
        "without_search": ", ".join(run.setting.short for name, run in runs.items() if name not in searched),
        "skews": " and ".join(f"{skew:g}" for skew in skews),
    }


def _searched(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The trainings of each configuration that was trained at several rates."""
    return [tried for _, tried in table.dropna(subset="lr").groupby(SCHEME, sort=False) if len(tried) > 1]


def _cells(tried: pd.DataFrame) -> tuple[str, str, str]:
    name, rows = str(tried["config"].iloc[0]), tried.sort_values("lr")
    rates, top1 = rows["lr"].to_list(), rows["validation_top1"].to_list()
    best = rates[top1.index(max(top1))]
    edge = ", edge" if best in (rates[0], rates[-1]) else ""
    all_rates = ", ".join(f"{lr:g}: {accuracy:.2f} %" for lr, accuracy in zip(rates, top1, strict=True))
    return name, all_rates, f"{best:g}{edge}"
