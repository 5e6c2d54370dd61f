"""What a finished study leaves in `results/<profile>/`: the tables that pages are written from, and nothing larger."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from selectq.files import write_bytes, write_csv
from selectq.seconds import recorded_seconds
from selectq.statistics.schemas import BLOCK_DRIFT, CAUSES, DRIFT, OWN_ERRORS, SECONDS, TABLE1

COPIED = (
    "params.yaml",
    "dvc.lock",
    "results/table1.csv",
    "results/table2.csv",
    "results/table2.md",
    "results/paired.csv",
    "results/contrasts.csv",
    "results/methods.csv",
    "results/seeds.csv",
    "results/plan.md",
    "results/oscillation.csv",
    "results/audit.csv",
    "plots/calibration.csv",
)

OWN_CAUSES = ("weight rounding", "clipping", "activation rounding")
"""Of a layer's error: those that start in it."""


def archive_study(workspace: Path, saved: Path, stages: Iterable[str]) -> None:
    """Copy the small tables of a checkout or workspace, write what is read of the large ones, and what `stages` took.

    Raises:
        UserError: a table is missing or damaged.
    """
    for name in COPIED:
        write_bytes(saved / Path(name).name, (workspace / name).read_bytes())
    table1 = TABLE1.read(workspace / "results" / "table1.csv")
    untrained = table1.loc[table1["method"] == "ptq", "config"]
    causes = CAUSES.read(workspace / "plots" / "causes.csv")
    took = recorded_seconds(workspace, stages)
    write_csv(saved / "seconds.csv", SECONDS.frame((stage, *record) for stage, record in took.items()))
    write_csv(saved / "block_drift.csv", block_drift(DRIFT.read(workspace / "plots" / "drift.csv")))
    write_csv(saved / "own_errors.csv", own_errors(causes[causes["config"].isin(untrained)]))


def block_drift(drift: pd.DataFrame) -> pd.DataFrame:
    """What has accumulated up to each block's output."""
    return drift.query("layer_kind == 'block' and kind == 'accumulated'")[list(BLOCK_DRIFT.columns)]


def own_errors(causes: pd.DataFrame) -> pd.DataFrame:
    """What each layer adds to the error of its output, summed over the causes that start in it."""
    rows = causes[causes["cause"].isin(OWN_CAUSES)].rename(columns={"drift": "error"})
    *names, error = OWN_ERRORS.columns
    return rows.groupby(names, as_index=False, sort=False).agg({error: "sum"})
