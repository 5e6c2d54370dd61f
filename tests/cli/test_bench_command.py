"""`selectq bench`: tables within 80 columns, the same figures as JSON, and one line for what cannot be timed."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pandas as pd
import pytest
from brightest import Command, float_model

from selectq.latency.turns import Turns
from selectq.report.latency import MEASURED, read_latencies, write_latencies

FIGURES = re.compile(r"\s+([\d.]+)  +([\d.]+) to ([\d.]+)  +([\d,]+)  +([\d.]+)$")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectq.latency.measure.TURNS", Turns(3, 0.0, 0.0, 0.0))
    monkeypatch.setattr("selectq.programs.format.find_spec", lambda package: None if package == "openvino" else 1)


@pytest.fixture
def fp32(here: Path) -> Path:
    """A float file as an engineer may bring, its name too long for a table."""
    path = here / f"{'long_' * 20}name.onnx"
    onnx.save(float_model(), path)
    return path.relative_to(here)


def test_programs_are_timed_side_by_side(model: Path, fp32: Path, selectq: Command) -> None:
    ended = selectq("bench", model, fp32, "--batch", 1, 8, "--threads", 1, 2, "--seconds", 0.01)
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert "ONNX Runtime 1." in lines[0]
    assert lines[1:5] == [
        "1 brightest.onnx",
        "  fed: pixels, uint8 (batch, 3, 16, 16), random codes from 0 to 255",
        f"2 {fp32}",
        "  fed: pixels, float32 (batch, 3, 16, 16), random numbers from 0 to 1",
    ]
    headings = [line.partition("  ")[0] for line in lines if line.startswith("batch")]
    assert headings == ["batch 1, 1 thread", "batch 8, 1 thread", "batch 1, 2 threads", "batch 8, 2 threads"]
    first, second = (
        [FIGURES.search(line) for line in lines if line.startswith(f"{number} ") and FIGURES.search(line)]
        for number in (1, 2)
    )
    assert len(first) == len(second) == 4
    for row in (*first, *second):
        assert row is not None and float(row[2]) <= float(row[1]) <= float(row[3])
    assert {row[5] for row in first if row} == {"1.00"}
    assert all(len(line) <= 80 for number, line in enumerate(lines) if number != 3), "a path is printed in full"


def test_setting_that_is_asked_for_twice_is_measured_once(model: Path, selectq: Command) -> None:
    assert selectq("bench", model, "--batch", 2, 2, "--seconds", 0.01).out.count("batch 2, 1 thread") == 1


def test_json_holds_what_is_printed(model: Path, fp32: Path, selectq: Command) -> None:
    out = selectq("bench", model, fp32, "--seconds", 0.01, "--json", "new/bench.json").out
    content = json.loads(Path("new/bench.json").read_text())
    printed = [found for line in out.splitlines() if (found := FIGURES.search(line))]
    for row, found, file in zip(content["measured"], printed, (model, fp32), strict=True):
        assert (row["file"], row["runtime"], row["batch"], row["threads"]) == (str(file), "ONNX Runtime", 1, 1)
        figures = [row[key] for key in ("ms_median", "ms_p10", "ms_p90")]
        assert [float(text) for text in found.groups()[:3]] == pytest.approx(figures, rel=0.01, abs=0.0005)
        assert f"{row['images_per_second']:,.0f}" == found[4]
    assert set(content["machine"]) == {"architecture", "instructions", "versions", "runtimes"}
    assert set(content["machine"]["runtimes"]) == {"ONNX Runtime"}


def test_model_card_takes_its_latency_from_the_comparisons(model: Path, fp32: Path, selectq: Command) -> None:
    selectq("bench", model, fp32, "--batch", 1, 64, "--seconds", 0.01, "--json", "bench.json")
    content = json.loads(Path("bench.json").read_text())
    workload, case = next(iter(MEASURED.items()))
    rows = pd.DataFrame(content["comparisons"]).assign(case=case)
    rows.to_csv("int8_acme-4c_onnxruntime-1.32.0.csv", index=False)
    found = read_latencies(Path(), workload)
    speeds = {(row["file"], row["batch"]): row["images_per_second"] for row in content["measured"]}
    for latency in found:
        ours, peer = speeds[str(model), latency.batch], speeds[str(fp32), latency.batch]
        assert (latency.ours, latency.peer) == pytest.approx((ours, peer))
        assert latency.peer_name == f"{fp32}, ONNX Runtime"
    assert [latency.batch for latency in found] == [1, 64]
    assert any(f"{fp32}, ONNX Runtime" in line for line in write_latencies(found))


@pytest.mark.usefixtures("here")
def test_layers_name_the_slowest_nodes(network_program: Path, selectq: Command) -> None:
    ended = selectq("bench", network_program, "--layers", "--seconds", 0.01, "--json", "bench.json")
    lines = ended.out.splitlines()
    start = lines.index("1 dwpw_asym.onnx, batch 1, 1 thread, by ONNX Runtime's profiler")
    heading, *rows, total = [re.split(r"  +", line) for line in lines[start + 1 :]]
    assert (heading, len(rows)) == (["node", "operator", "reads", "µs", "share"], 10)
    assert {row[2] for row in rows} == {"uint8"}
    assert any(row[1].startswith("QLinearConv, ") for row in rows)
    shares = [float(row[4].removesuffix(" %")) for row in rows]
    assert shares == sorted(shares, reverse=True)
    nodes = json.loads(Path("bench.json").read_text())["nodes"]
    assert total[0] == f"all {len(nodes)} nodes" and len(nodes) > 60
    assert sum(node["share_pct"] for node in nodes) == pytest.approx(100)
    assert f"{sum(node['microseconds'] for node in nodes):,.0f}" == total[1]
    assert all(len(line) <= 80 for line in lines[start:])


def text_model() -> Path:
    Path("text.onnx").write_text("hello")
    return Path("text.onnx")


def fixed_model() -> Path:
    made = float_model()
    for end in (*made.graph.input, *made.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(made, "fixed.onnx")
    return Path("fixed.onnx")


REFUSED: dict[str, tuple[Callable[[], Path], list[object], str]] = {
    "missing": (lambda: Path("gone.onnx"), [], "gone.onnx: no such file"),
    "unknown ending": (
        lambda: Path("m.tflite"),
        [],
        "m.tflite: .tflite ending; a model file ends in .onnx, .pt2, .pte",
    ),
    "text": (text_model, [], "text.onnx: not an ONNX program that ONNX Runtime can load ("),
    "fixed batch": (fixed_model, ["--batch", 2, 3], "--batch: fixed.onnx does not take 3 images at once; allowed: 2"),
    "no images": (fixed_model, ["--batch", 2, 0], "--batch: 0 is out of range; allowed: 1 or more"),
    "no threads": (fixed_model, ["--threads", 1, -1], "--threads: -1 is out of range; allowed: 1 or more"),
    "no time": (fixed_model, ["--seconds", 0], "--seconds: 0 is out of range; allowed: more than 0"),
    "no number": (fixed_model, ["--seconds", "nan"], "--seconds: nan is out of range; allowed: more than 0"),
    "no end": (fixed_model, ["--seconds", "inf"], "--seconds: inf is out of range; allowed: more than 0"),
    "JSON is a folder": (
        fixed_model,
        ["--json", "."],
        "--json: . cannot be written: it is a folder, or inside of a file",
    ),
    "JSON in a file": (
        fixed_model,
        ["--json", "fixed.onnx/a.json"],
        "--json: fixed.onnx/a.json cannot be written: it is a folder, or inside of a file",
    ),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_timed_is_refused_in_one_line(name: str, selectq: Command) -> None:
    make, options, message = REFUSED[name]
    assert selectq.refusal("bench", make(), *options).startswith(message)


def test_runtime_that_is_not_installed_is_named(here: Path, selectq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    (here / "m.pte").write_bytes(b"x")
    message = "m.pte: running it needs ExecuTorch; install selectq[executorch]"
    assert selectq.refusal("bench", "m.pte") == message
