"""Reading the metrics: complete, of the right configurations, and each fault in one line."""

import json
from pathlib import Path
from typing import Any

import made_up
import pytest

from selectq.errors import UserError
from selectq.params.configs import Params
from selectq.tables.evidence import Evidence, Fp32Metrics, read_evidence


def read(root: Path, params: Params) -> Evidence:
    return read_evidence(root / "metrics", params.ptq, params.qat, params.convert)


def test_everything_is_read(evidence: Evidence) -> None:
    assert evidence.fp32 == Fp32Metrics(90.0, 91.0, 2_000_000, 9_120_000, 2_500, "digits & <others>")
    assert {name: metrics.test_top1 for name, metrics in evidence.int8.items()} == made_up.INT8_TOP1
    assert {name: metrics.params_retrained for name, metrics in evidence.simulated.items()} == made_up.RETRAINED
    assert list(evidence.learning["config"].unique()) == ["fp32", "full", "dwpw", "dwpw_asym", "mine"]
    assert len(evidence.learning) == 2 * (10 + 4 * 3)
    assert len(evidence.drift) == 2 * 2 * (19 + 53)
    assert len(evidence.channel_ranges) == 576
    assert set(evidence.histograms["tensor"]) == {"weight", "activation"}


@pytest.mark.parametrize(
    "missing",
    [
        "fp32.json",
        "int8/full.json",
        "simulated/mine.json",
        "learning/fp32.csv",
        "learning/dwpw.csv",
        "drift/drift.csv",
        "drift/channel_ranges.csv",
        "drift/histograms.csv",
    ],
)
def test_missing_file(missing: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / missing
    path.unlink()
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}: cannot be read (")
    assert str(refusal.value).endswith("; run the stage that writes it")


def test_files_of_a_removed_configuration_are_named_together(run_folder: Path, params: Params) -> None:
    metrics = run_folder / "metrics"
    stale = [metrics / "int8" / "old.json", metrics / "learning" / "old.csv", metrics / "simulated" / "old.json"]
    for path in stale:
        path.write_text("whatever it holds")
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    named = ", ".join(map(str, stale))
    assert str(refusal.value) == f"{named}: of no configuration in params.yaml; delete, or put the configuration back"


def test_learning_curve_of_a_ptq_configuration_is_stale(run_folder: Path, params: Params) -> None:
    (run_folder / "metrics" / "learning" / "tensor.csv").write_text("")
    with pytest.raises(UserError, match=r"learning/tensor\.csv: of no configuration"):
        read(run_folder, params)


@pytest.mark.parametrize("table", ["drift", "histograms"])
def test_table_with_a_removed_configuration(table: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / "drift" / f"{table}.csv"
    path.write_text(path.read_text().replace("\ntensor,", "\nremoved,"))
    with pytest.raises(UserError, match=f"{table}.csv: holds removed, not in params.yaml; run the stage"):
        read(run_folder, params)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("fp32", {"data": None}, "data: None is not text"),
        ("fp32", {"test_images": 0}, "test_images: 0 is out of range; allowed: 1 to"),
        ("int8/full", {"test_top1": 100.5}, "test_top1: 100.5 is out of range; allowed: 0 to 100"),
        ("int8/full", {"test_top1": "89"}, "test_top1: '89' is not a number"),
        ("simulated/full", {"params_retrained": -1}, "params_retrained: -1 is out of range"),
    ],
)
def test_impossible_value(file: str, change: dict[str, Any], message: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}")
    assert message in str(refusal.value)


@pytest.mark.parametrize(("file", "key"), [("fp32", "test_images"), ("int8/full", "flipped_pct")])
def test_missing_value(file: str, key: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / f"{file}.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value) == f"{path}: {key} is missing; run the stage that writes it"


@pytest.mark.parametrize("content", ["", "config,index\ntensor,0\n", "\0\0"])
def test_damaged_table(content: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / "drift" / "drift.csv"
    path.write_text(content)
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}: cannot be read (")
    assert "\n" not in str(refusal.value)


def test_metrics_that_are_no_mapping(run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / "fp32.json"
    path.write_text("[]")
    with pytest.raises(UserError, match=r"fp32\.json: \[\] is not a mapping of metrics"):
        read(run_folder, params)
