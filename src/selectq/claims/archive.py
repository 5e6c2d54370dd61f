"""What a finished study leaves in `results/<profile>/`: the tables that pages are written from, and nothing larger."""

from pathlib import Path

import pandas as pd

from selectq.files import write_bytes, write_csv
from selectq.tables.evidence import CAUSE_COLUMNS, DRIFT_COLUMNS, read_table

COPIED = (
    "params.yaml",
    "results/table1.csv",
    "results/table2.csv",
    "results/table2.md",
    "results/paired.csv",
    "results/contrasts.csv",
    "results/methods.csv",
    "results/seeds.csv",
    "results/oscillation.csv",
    "results/audit.csv",
    "plots/calibration.csv",
)

BLOCK_DRIFT = "block_drift.csv"
BLOCK_DRIFT_COLUMNS = {"config": str, "index": int, "drift": float}

OWN_ERRORS = "own_errors.csv"
OWN_ERROR_COLUMNS = {"config": str, "layer": str, "layer_kind": str, "error": float}

OWN_CAUSES = ("weight rounding", "clipping", "activation rounding")
"""Of a layer's error: those that start in it."""


def archive_study(workspace: Path, kept: Path) -> None:
    """Copy the small tables of a checkout or workspace, and write what is read of the large ones.

    Raises:
        UserError: a table is missing or damaged.
    """
    for name in COPIED:
        write_bytes(kept / Path(name).name, (workspace / name).read_bytes())
    table = pd.read_csv(workspace / "results" / "table1.csv", na_filter=False)
    untrained = table.loc[table["method"] == "ptq", "config"].to_list()
    causes = read_table(workspace / "plots" / "causes.csv", CAUSE_COLUMNS, None)
    write_csv(kept / BLOCK_DRIFT, block_drift(read_table(workspace / "plots" / "drift.csv", DRIFT_COLUMNS, None)))
    write_csv(kept / OWN_ERRORS, own_errors(causes[causes["config"].isin(untrained)]))


def block_drift(drift: pd.DataFrame) -> pd.DataFrame:
    """What has accumulated up to each block's output."""
    rows = drift[(drift["layer_kind"] == "block") & (drift["kind"] == "accumulated")]
    return rows[list(BLOCK_DRIFT_COLUMNS)]


def own_errors(causes: pd.DataFrame) -> pd.DataFrame:
    """What each layer adds to the error of its output, summed over the causes that start in it."""
    rows = causes[causes["cause"].isin(OWN_CAUSES)].rename(columns={"drift": "error"})
    return rows.groupby(["config", "layer", "layer_kind"], as_index=False, sort=False).agg({"error": "sum"})
