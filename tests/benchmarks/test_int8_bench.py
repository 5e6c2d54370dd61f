"""The INT8 benchmark as a whole, and that its sides compute the same network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bench_int8
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from int8_cases import (
    ALL_PEERS,
    CASES,
    COMPILED,
    EAGER,
    EXECUTORCH,
    OPENVINO_FP32,
    OPENVINO_INT8,
    ORT_FP32,
    ORT_STATIC,
    PT2E,
    Setting,
)
from int8_models import Models
from int8_profile import COLUMNS as PROFILE_COLUMNS
from int8_report import COLUMNS
from int8_sides import PEERS, ours
from machine import has_vnni

from selectq.errors import UserError

SETTING = Setting(batch=16, threads=1)
PARTS = "QLinearConv, depthwise", "QLinearConv, pointwise", "QLinearConv, 3x3"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    threads = torch.get_num_threads()
    torch.set_num_threads(SETTING.threads)
    yield Models(CASES[0], tmp_path_factory.mktemp("int8"))
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it compiles networks for peers
def test_quick_run_writes_table_and_picture(checkout: Path, tmp_path: Path) -> None:
    done = _bench(checkout, "--quick", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (table_path,) = tmp_path.glob("quick_int8_*.csv")
    assert sorted(tmp_path.iterdir()) == [table_path, table_path.with_suffix(".png")]
    rows = pd.read_csv(table_path)
    assert list(rows.columns) == COLUMNS
    installed = [name for name in ALL_PEERS if PEERS[name].installed]
    for case in CASES:
        found = rows[rows["case"] == case.name]
        assert set(found["peer_name"]) == set(installed) & set(case.peers)
        assert set(zip(found["batch"], found["threads"], strict=True)) == {(1, 1), (64, 1), (1, 2), (64, 2)}
    assert (rows["repeats"] == 2).all()
    assert (rows[["ours", "peer", "ratio"]] > 0).all(axis=None)
    with_goal = rows[rows["goal"].notna()]
    assert len(with_goal) == (2 * (2 + 4) if has_vnni() else 0)
    assert with_goal["met"].isin([True, False]).all()
    assert rows[rows["goal"].isna()]["met"].isna().all()
    missing = [line for line in done.stdout.splitlines() if line.startswith("left out: ")]
    assert len(missing) == len(ALL_PEERS) - len(installed)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it compiles networks for peers
def test_quick_profile_writes_operators_of_every_model(checkout: Path, tmp_path: Path) -> None:
    done = _bench(checkout, "--quick", "--profile", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("quick_int8_profile_")
    rows = pd.read_csv(path)
    assert list(rows.columns) == PROFILE_COLUMNS
    groups = rows.groupby(["model", "batch"])
    assert len(groups) == len(CASES) * 3 * 2
    assert groups["share_pct"].sum().between(99, 101).all()
    for case in CASES:
        convolutions = rows[(rows["model"] == f"{case.name}: ours") & (rows["batch"] == 64)].set_index("operator")
        assert [convolutions["nodes"][part] for part in PARTS] == [17, 34, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [ORT_FP32, EAGER, COMPILED, OPENVINO_FP32])
def test_fp32_sides_compute_the_same(models: Models, name: str) -> None:
    logits = _logits(models, name)
    images = torch.from_numpy(models.images[: SETTING.batch])
    with torch.inference_mode():
        expected = models.network(images).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-3)
    assert not np.allclose(logits, np.roll(expected, 1, axis=0), atol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [ORT_STATIC, PT2E, OPENVINO_INT8, EXECUTORCH])
def test_int8_sides_compute_nearly_the_same_as_ours(models: Models, name: str) -> None:
    """As nearly as other ranges and another rounding allow, where random weights meet random pixels."""
    expected = np.asarray(ours(models, SETTING)())
    logits = _logits(models, name)
    assert _correlation(logits, expected) > 0.5
    assert _correlation(logits, np.roll(expected, 1, axis=0)) < 0.3


@pytest.mark.slow
def test_fp32_file_holds_nothing_but_the_network(models: Models) -> None:
    operators = {node.op_type for node in onnx.load(models.fp32_onnx).graph.node}
    assert operators == {"Conv", "Relu", "Add", "ReduceMean", "Reshape", "Gemm"}


def test_repeats_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["bench_int8.py", "--repeats", "0", "--output", str(tmp_path)])
    with pytest.raises(UserError, match=r"^--repeats: 0 is out of range; allowed: 1 or more$"):
        bench_int8.main()
    assert not list(tmp_path.iterdir())


def test_peers_that_are_not_installed_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("int8_sides.find_spec", lambda package: None if package == "openvino" else object())
    bench_int8._say_what_is_missing()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert lines == [
        "left out: OpenVINO FP32 (openvino is not installed)",
        "left out: OpenVINO, our ONNX program (openvino is not installed)",
    ]
    assert bench_int8._packages() == ["onnxruntime", "torch"]


def _bench(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "error", str(checkout / "benchmarks" / "bench_int8.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _logits(models: Models, name: str) -> np.ndarray:
    """What a peer computes, (batch, classes); the test is skipped where the peer is not installed."""
    if not PEERS[name].installed:
        pytest.skip(f"{PEERS[name].package} is not installed")
    return np.asarray(PEERS[name].prepare(models, SETTING)())


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of what remains of the logits when each class's mean over the images is taken away."""
    flat = [(values - values.mean(0)).ravel() for values in (one, other)]
    return float(np.corrcoef(*flat)[0, 1])
