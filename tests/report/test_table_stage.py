"""The stage as a user runs it: its outputs, the same bytes twice, Table 2 on the screen, faults in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import made_up
import pandas as pd
import pytest
import yaml
from stage_process import run_stage

from selectq.files import read_json

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS = ["fp32", "tensor", "channel", "full", "dwpw", "dwpw_asym", "mine"]


def declared_outputs(checkout: Path) -> set[str]:
    stage = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]["table"]
    entries = (*stage["outs"], *stage["metrics"])
    return {path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)}


LEFTOVERS = (
    "int8/old.json",
    "parity/old.layers.csv",
    "drift/old.histograms.csv",
    "causes/old.csv",
    "simulated/old.json",
    "learning/tensor.csv",
    "oscillation/channel.csv",
)
"""Of a configuration that was removed, and of two that are no longer retrained."""


def run_table(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The stage in a process of its own: Vega, once it has drawn, does not live on in a copy of its process."""
    command = [sys.executable, str(CHECKOUT / "stages" / "table.py")]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tabulated(made_up_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a made-up run after the stage has run there, and what it printed."""
    folder = shutil.copytree(made_up_run, tmp_path_factory.mktemp("tabulated") / "run")
    for name in LEFTOVERS:
        (folder / "metrics" / name).write_text("whatever it holds")
    ended = run_table(folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder, ended.stdout


def test_outputs_are_those_declared(checkout: Path, tabulated: tuple[Path, str]) -> None:
    folder, _ = tabulated
    written = {
        path.relative_to(folder).as_posix() for part in ("results", "plots") for path in (folder / part).iterdir()
    }
    compared = {f"results/{name}.csv" for name in ("paired", "seeds", "methods", "contrasts")} | {"results/plan.json"}
    assert written | {"metrics/summary.json"} == declared_outputs(checkout) | compared
    assert (folder / "metrics" / "summary.json").is_file()


def test_what_removed_configurations_left_behind_goes(tabulated: tuple[Path, str], made_up_run: Path) -> None:
    """So that DVC's hash of these folders is that of a fresh clone."""
    folder, _ = tabulated
    assert {path.name for path in (folder / "metrics").rglob("*")} - {"summary.json"} == {
        path.name for path in (made_up_run / "metrics").rglob("*")
    }


def test_screen_says_where_the_tables_are(tabulated: tuple[Path, str]) -> None:
    folder, printed = tabulated
    assert printed == "wrote results/verdict.md, results/table2.md and results/report.html\n"
    assert (folder / "results" / "report.html").is_file()
    assert read_json(folder / "results" / "verdict.json")["recommended"] == "dwpw_asym"
    assert "dwpw_asym" in (folder / "results" / "verdict.md").read_text()


def test_tables_as_files(tabulated: tuple[Path, str]) -> None:
    folder, _ = tabulated
    second = pd.read_csv(folder / "results" / "table2.csv").set_index("config")
    assert list(second.index) == ROWS
    assert second["int8_top1"].dropna().to_dict() == made_up.INT8_TOP1
    assert second.loc["fp32", ["params_retrained_pct", "int8_top1", "gap_points"]].isna().all()
    assert second["paper_int8_top1"].isna().all(), "the data is not the paper's"
    assert second.loc["dwpw", "gap_points"] == -2.0
    assert (second.loc["dwpw", "mcnemar_p"], second.loc["dwpw", "seed_count"]) == (1.25e-7, 3)
    assert set(second["setting"]) == {"plain"}
    oscillation = pd.read_csv(folder / "results" / "oscillation.csv")
    assert list(oscillation["config"].unique()) == ["full", "dwpw", "dwpw_asym", "mine"]
    first = pd.read_csv(folder / "results" / "table1.csv")
    assert list(first["config"]) == ROWS[1:]


def test_plots_hold_what_was_measured(tabulated: tuple[Path, str]) -> None:
    folder, _ = tabulated
    plots, metrics = folder / "plots", folder / "metrics"
    assert (plots / "channel_ranges.csv").read_bytes() == (metrics / "channel_ranges.csv").read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(plots / "calibration.csv"), made_up.calibration())
    gathered = {
        "drift": "drift/{}",
        "causes": "causes/{}",
        "histograms": "drift/{}.histograms",
        "confusion": "int8/{}.confusion",
    }
    for plot, kept in gathered.items():
        parts = [pd.read_csv(metrics / f"{kept.format(name)}.csv") for name in made_up.INT8_TOP1]
        shown = pd.read_csv(plots / f"{plot}.csv").drop(columns=["colour", "marker"], errors="ignore")
        pd.testing.assert_frame_equal(shown, pd.concat(parts, ignore_index=True))
    assert set(pd.read_csv(plots / "latency.csv")["machine"]) == {"acme-4c-vnni"}
    learning = pd.read_csv(folder / "plots" / "learning.csv")
    assert list(learning["config"].unique()) == ["fp32", "full", "dwpw", "dwpw_asym", "mine"]
    assert read_json(folder / "metrics" / "summary.json")["int8"]["mine"]["top1"] == 50.0


@pytest.mark.slow
def test_two_runs_write_the_same_bytes(checkout: Path, tabulated: tuple[Path, str], run_folder: Path) -> None:
    folder, _ = tabulated
    assert run_table(run_folder, PYTHONHASHSEED="1").returncode == 0
    for path in declared_outputs(checkout):
        assert (run_folder / path).read_bytes() == (folder / path).read_bytes(), path


def test_fault_is_one_line_and_nothing_is_written(run_folder: Path) -> None:
    (run_folder / "metrics/int8/full.json").unlink()
    ended = run_stage("table", folder=run_folder)
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: metrics/int8/full.json: cannot be read")
    assert not (run_folder / "results" / "table1.csv").exists()
