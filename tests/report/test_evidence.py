"""Reading the metrics: complete, of the right configurations, and each fault in one line."""

import json
from pathlib import Path
from typing import Any

import made_up
import pandas as pd
import pytest

from selectq.config.configs import Params
from selectq.errors import UserError
from selectq.files import write_csv
from selectq.report.evidence import (
    CpuMetrics,
    EnvironmentMetrics,
    Evidence,
    Fp32Metrics,
    ParityMetrics,
    read_evidence,
    read_program_evidence,
)


def read(root: Path, params: Params) -> Evidence:
    return read_evidence(root / "metrics", root / "results", params.ptq, params.qat, made_up.CALIBRATED)


def test_everything_is_read(evidence: Evidence) -> None:
    assert evidence.fp32 == Fp32Metrics(90.0, 91.0, 2_000_000, 9_120_000, 2_500, "digits & <others>")
    assert {name: metrics.test_top1 for name, metrics in evidence.int8.items()} == made_up.INT8_TOP1
    assert {name: metrics.params_retrained for name, metrics in evidence.simulated.items()} == made_up.RETRAINED
    assert evidence.int8["mine"].sizes == made_up.SIZES
    assert {name: metrics.integer_arithmetic for name, metrics in evidence.int8.items()} == {
        name: name != "mine" for name in made_up.INT8_TOP1
    }
    environment = EnvironmentMetrics(made_up.ENVIRONMENT["versions"], "x86_64", ("avx2", "avx512_vnni"))
    parity = ParityMetrics(0.12, 1, CpuMetrics(True, False), environment)
    assert evidence.parity == dict.fromkeys(made_up.INT8_TOP1, parity)
    assert {name: len(pairs) for name, pairs in evidence.pairs.items()} == dict.fromkeys(made_up.INT8_TOP1, 15)
    assert list(evidence.learning["config"].unique()) == ["fp32", "full", "dwpw", "dwpw_asym", "mine"]
    assert len(evidence.learning) == 2 * (10 + 4 * 3)
    for table in (evidence.drift, evidence.causes, evidence.histograms, evidence.confusion):
        assert list(table["config"].unique()) == list(made_up.INT8_TOP1)
    assert len(evidence.drift) == 6 * 2 * (19 + 53)
    assert len(evidence.causes) == 6 * 5 * 6
    assert list(evidence.oscillation["config"].unique()) == ["full", "dwpw", "dwpw_asym", "mine"]
    assert len(evidence.oscillation) == 2 * (4 + 3 * 3)
    assert len(evidence.channel_ranges) == 576
    assert len(evidence.calibration) == 2 * 2 * 2
    assert set(evidence.histograms["tensor"]) == {"weight", "activation"}
    assert len(evidence.confusion) == 6 * 3 * 3
    assert len(evidence.paired) == 6 + 1 and len(evidence.seeds) == 3
    assert evidence.methods.set_index("config")["ci_low"].dropna().to_dict() == {"dwpw": -3.5}


@pytest.mark.parametrize(
    "missing",
    [
        "metrics/fp32.json",
        "metrics/int8/full.json",
        "metrics/parity/dwpw.json",
        "metrics/parity/dwpw.csv",
        "metrics/simulated/mine.json",
        "metrics/learning/fp32.csv",
        "metrics/learning/dwpw.csv",
        "metrics/channel_ranges.csv",
        "metrics/calibration/tensor.csv",
        "metrics/drift/channel.csv",
        "metrics/drift/mine.histograms.csv",
        "metrics/causes/tensor.csv",
        "metrics/oscillation/dwpw.csv",
        "metrics/int8/tensor.confusion.csv",
        "results/paired.csv",
        "results/seeds.csv",
        "results/methods.csv",
    ],
)
def test_missing_file(missing: str, run_folder: Path, params: Params) -> None:
    path = run_folder / missing
    path.unlink()
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}: cannot be read (")
    assert str(refusal.value).endswith("; run the stage that writes it")


def test_run_without_retraining_has_no_oscillation(run_folder: Path, params: Params) -> None:
    metrics, results = run_folder / "metrics", run_folder / "results"
    for path in metrics.glob("*/*"):
        if path.name.partition(".")[0] not in (*params.ptq, "fp32"):
            path.unlink()
    for name in ("paired", "seeds", "methods", "contrasts"):
        table = pd.read_csv(results / f"{name}.csv")
        write_csv(results / f"{name}.csv", table[table["config"].isin(params.ptq)])
    found = read_evidence(metrics, results, params.ptq, [], list(params.ptq)).oscillation
    assert found.empty and list(found)[:2] == ["config", "layer"]


@pytest.mark.parametrize(
    "table", ["drift/tensor.csv", "causes/tensor.csv", "drift/tensor.histograms.csv", "int8/tensor.confusion.csv"]
)
def test_table_of_another_configuration(table: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / table
    path.write_text(path.read_text().replace("\ntensor,", "\nchannel,"))
    with pytest.raises(UserError, match=f"{table}: column config holds channel, not in params.yaml; run the stage"):
        read(run_folder, params)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("fp32", {"data": None}, "data: None is not text"),
        ("fp32", {"test_images": 0}, "test_images: 0 is out of range; allowed: 1 to"),
        ("int8/full", {"test_top1": 100.5}, "test_top1: 100.5 is out of range; allowed: 0 to 100"),
        ("int8/full", {"test_top1": "89"}, "test_top1: '89' is not a number"),
        ("simulated/full", {"params_retrained": -1}, "params_retrained: -1 is out of range"),
        ("int8/full", {"bytes": made_up.BYTES | {"graph": -1}}, "bytes.graph: -1 is out of range"),
        ("int8/full", {"test_images": 1250, "correct": 1112.5}, "correct: 1112.5 is not a whole number"),
        ("int8/full", {"integer_arithmetic": 1}, "integer_arithmetic: 1 is not true or false"),
        ("parity/full", {"layer_steps": 0.5}, "layer_steps: 0.5 is not a whole number"),
        ("parity/full", {"cpu": {"vnni": True}}, "cpu.u8s8_saturates: missing"),
        ("parity/full", {"environment": {**made_up.ENVIRONMENT, "architecture": 64}}, "architecture: 64 is not text"),
    ],
)
def test_impossible_value(file: str, change: dict[str, Any], message: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "key"),
    [("fp32", "test_images"), ("int8/full", "bytes"), ("int8/full", "correct"), ("parity/full", "flipped_pct")],
)
def test_missing_value(file: str, key: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / f"{file}.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value) == f"{path}: {key} is missing; run the stage that writes it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("mine,", "other,"), "column config holds other, not in params.yaml; run the stage"),
        (("0.12", "many"), "column flipped_pct: 'many' is not a number; run the stage"),
    ],
    ids=["configuration", "number"],
)
def test_damaged_pairs(change: tuple[str, str], message: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / "parity" / "mine.csv"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("paired", ("mine,", "other,"), "column config holds other, not in params.yaml; run the stage"),
        ("seeds", ("dwpw,0,", "tensor,0,"), "column config holds tensor, not in params.yaml; run the stage"),
    ],
)
def test_damaged_statistics(file: str, change: tuple[str, str], message: str, run_folder: Path, params: Params) -> None:
    path = run_folder / "results" / f"{file}.csv"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UserError) as refusal:
        read(run_folder, params)
    assert str(refusal.value).startswith(f"{path}: {message}")


def test_one_configuration_needs_no_other(run_folder: Path) -> None:
    for path in (run_folder / "metrics").rglob("*"):
        if path.is_file() and path.name.partition(".")[0] not in ("fp32", "channel"):
            path.unlink()
    found = read_program_evidence(run_folder / "metrics", "channel")
    assert (found.int8.correct, found.simulated.params_retrained, len(found.pairs)) == (1500, 0, 15)
    with pytest.raises(UserError, match=r"simulated/full\.json: cannot be read"):
        read_program_evidence(run_folder / "metrics", "full")


def test_metrics_that_are_no_mapping(run_folder: Path, params: Params) -> None:
    path = run_folder / "metrics" / "fp32.json"
    path.write_text("[]")
    with pytest.raises(UserError, match=r"fp32\.json: \[\] is not a mapping of metrics"):
        read(run_folder, params)
