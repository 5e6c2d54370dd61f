"""That the sides of the INT8 benchmark compute the same network, and that it says what is left out."""

from collections.abc import Iterator
from pathlib import Path

import bench_int8
import numpy as np
import onnx
import pytest
import torch
from int8_cases import (
    CASES,
    EAGER,
    OPENVINO_FP32,
    OPENVINO_INT8,
    ORT_FP32,
    ORT_STATIC,
    Setting,
)
from int8_models import Models
from int8_sides import PEERS, ours

from selectq.errors import UserError

SETTING = Setting(batch=16, threads=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    threads = torch.get_num_threads()
    torch.set_num_threads(SETTING.threads)
    yield Models(CASES[0], tmp_path_factory.mktemp("int8"))
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [ORT_FP32, EAGER, OPENVINO_FP32])
def test_fp32_sides_compute_the_same(models: Models, name: str) -> None:
    logits = _logits(models, name)
    images = torch.from_numpy(models.images[: SETTING.batch])
    with torch.inference_mode():
        expected = models.network(images).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-3)
    assert not np.allclose(logits, np.roll(expected, 1, axis=0), atol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [ORT_STATIC, OPENVINO_INT8])
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


def _logits(models: Models, name: str) -> np.ndarray:
    """What a peer computes, (batch, classes); the test is skipped where the peer is not installed."""
    if not PEERS[name].installed:
        pytest.skip(f"{PEERS[name].package} is not installed")
    return np.asarray(PEERS[name].prepare(models, SETTING)())


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of what remains of the logits when each class's mean over the images is taken away."""
    flat = [(values - values.mean(0)).ravel() for values in (one, other)]
    return float(np.corrcoef(*flat)[0, 1])
