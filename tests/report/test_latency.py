"""Latencies: of the same workload, one thread and the newest versions, and none where none were measured."""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import made_up
import pytest

from selectq.errors import UserError
from selectq.report.latency import (
    MEASURED,
    Latency,
    Workload,
    latency_points,
    newest_files,
    read_latencies,
    write_latencies,
)

FULL_SIZE = Workload("mobilenet_v2", 1, "relu", 32, "asymmetric")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two versions."""
    run = tmp_path_factory.mktemp("latency")
    made_up.write_shipped(run)
    return run / "benchmarks" / "results"


def rows_of(lines: list[str]) -> dict[str, list[str]]:
    """The first table's rows by their first cell."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {first: rest for first, *rest in cells}


def test_speeds_are_of_one_thread_and_the_newest_version(folder: Path) -> None:
    lines = write_latencies(read_latencies(folder, FULL_SIZE))
    assert lines[0] == "acme-4c-vnni (onnxruntime-1.32.0), one thread:"
    assert "1.9.0" not in " ".join(lines)
    rows = rows_of(lines)
    assert rows["What runs"] == ["Batch 1", "Ratio", "Batch 64", "Ratio"]
    assert rows["INT8 program, ONNX Runtime"] == ["1.00 ms per image", "–", "2,000 images/s", "–"]
    assert rows["ONNX Runtime FP32"] == ["2.50 ms per image", "2.50", "800 images/s", "2.50"]
    assert rows["ExecuTorch, our .pte program"] == ["0.80 ms per image", "0.80", "2,500 images/s", "0.80"]
    assert len(rows) == 5


def test_each_machine_has_its_table() -> None:
    latencies = [Latency(machine, 1, 500.0, "peer", 250.0, 2.0) for machine in ("acme", "bolt")]
    lines = write_latencies(latencies)
    assert [line for line in lines if line.endswith("one thread:")] == ["acme, one thread:", "bolt, one thread:"]
    assert sum(line.startswith("| peer") for line in lines) == 2


def test_batch_that_one_side_lacks_is_a_dash() -> None:
    latencies = [Latency("acme", 1, 500.0, "fast", 250.0, 2.0), Latency("acme", 64, 900.0, "slow", 90.0, 10.0)]
    rows = rows_of(write_latencies(latencies))
    assert rows["fast"] == ["4.00 ms per image", "2.00", "–", "–"]
    assert rows["slow"] == ["–", "–", "90 images/s", "10.00"]
    assert rows_of(write_latencies(latencies[:1]))["INT8 program, ONNX Runtime"][2] == "–"


@pytest.mark.parametrize(
    "change",
    [
        {"network": "resnet18"},
        {"strides_removed": 0},
        {"activation": "as_is"},
        {"image_size": 64},
    ],
)
def test_another_workload_was_not_measured(change: dict[str, Any], folder: Path) -> None:
    assert read_latencies(folder, FULL_SIZE)
    assert read_latencies(folder, dataclasses.replace(FULL_SIZE, **change)) == []


def test_activation_scheme_decides_the_case(folder: Path) -> None:
    schemes = ("asymmetric", "symmetric")
    found = {scheme: read_latencies(folder, dataclasses.replace(FULL_SIZE, scheme=scheme)) for scheme in schemes}
    assert {scheme: max(each.ours for each in latencies) for scheme, latencies in found.items()} == {
        "asymmetric": 2000.0,
        "symmetric": 1600.0,
    }


def test_workloads_are_those_of_the_benchmark(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    cases, size = importlib.import_module("int8_cases").CASES, importlib.import_module("workload").IMAGE_SIZE
    measured = {
        Workload.of(case.config, size, "symmetric" if case.symmetric else "asymmetric"): case.name for case in cases
    }
    assert measured == MEASURED


def test_points_are_of_every_case_and_program_once(folder: Path) -> None:
    points = latency_points(folder)
    assert not points.duplicated(["machine", "case", "batch", "program"]).any()
    assert len(points) == 2 * 2 * 3
    assert set(points["versions"]) == {"onnxruntime-1.32.0"} and set(points["batch"]) == {1, 64}
    found = points.set_index(["case", "batch", "program"])["ms_per_image"]
    assert found["asymmetric", 1, "INT8 program, ONNX Runtime"] == 1.0
    assert found["asymmetric", 64, "ONNX Runtime FP32"] == 1.25
    assert found["symmetric", 64, "INT8 program, ONNX Runtime"] == 0.625


@pytest.mark.parametrize("latencies", [[], [Latency("acme", 8, 1.0, "peer", 1.0, 1.0)]], ids=["none", "other batch"])
def test_no_measurement_says_so(latencies: list[Latency]) -> None:
    assert write_latencies(latencies) == ["Not measured."]


def test_no_folder_is_no_measurement(tmp_path: Path) -> None:
    assert read_latencies(tmp_path / "absent", FULL_SIZE) == []
    assert latency_points(tmp_path / "absent").empty


def test_newest_file_of_each_machine(tmp_path: Path) -> None:
    names = [
        "int8_acme-4c_ort-1.9.0",
        "int8_acme-4c_ort-1.10.0",
        "int8_acme-4c_ort-1.10.0_torch-2.0.0",
        "int8_bolt-2c_ort-1.2.0",
        "int8_profile_acme-4c_ort-3.0.0",
        "speed_acme-4c_ort-3.0.0",
        "quick_int8_acme-4c_ort-3.0.0",
    ]
    for name in names:
        (tmp_path / f"{name}.csv").write_text("")
    assert [path.stem for path in newest_files(tmp_path)] == [names[2], names[3]]


def test_damaged_measurements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "int8_acme-4c_ort-1.9.0.csv"
    path.write_text("case,batch\nasymmetric,1\n")
    with pytest.raises(UserError, match=re.escape(f"{path}: column threads is missing")):
        read_latencies(tmp_path, FULL_SIZE)
