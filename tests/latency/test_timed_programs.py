"""What is made of the seconds of each inference, and which runtimes are left out."""

from pathlib import Path

import pytest

from selectq.errors import UserError
from selectq.export.onnx import OnnxFormat
from selectq.latency import measure as module
from selectq.latency.measure import Latency, Load, TimedProgram, measure
from selectq.latency.turns import Run, Turns
from selectq.programs.format import Images, Runtime

IMAGES = Images("x", "uint8", (3, 2, 2))
PROGRAM = TimedProgram(1, Path("m.onnx"), IMAGES)


def works(*_: object) -> Run:
    return lambda: None


def fails(*_: object) -> Run:
    raise RuntimeError("no kernel\nat line 3")


def runtime(name: str, prepare: object) -> Runtime:
    return Runtime(name, "onnxruntime", prepare)  # type: ignore[arg-type]


def offer(monkeypatch: pytest.MonkeyPatch, *runtimes: Runtime) -> None:
    monkeypatch.setattr(OnnxFormat, "runtimes", lambda self: runtimes)


def measured(*timed: list[float], batch: int = 1) -> Latency:
    return Latency(PROGRAM, runtime("R", works), Load(batch, 1), list(timed))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURNS", Turns(2, 0.0, 0.0, 0.0))


def test_percentiles_are_of_all_inferences() -> None:
    found = measured([0.001, 0.002, 0.003, 0.004], [0.005, 0.006, 0.007, 0.008, 0.009, 0.010, 0.011])
    assert found.milliseconds == pytest.approx((2.0, 6.0, 10.0))


def test_ratio_is_that_of_the_speeds_round_by_round() -> None:
    first = measured([1.0], [3.0, 3.0], [10.0], batch=8)
    other = measured([0.5], [6.0], [2.0], batch=8)
    assert first.speeds == [8.0, 16 / 6, 0.8]
    assert other.ratio(first) == 2.0
    assert first.ratio(other) == 0.5


@pytest.mark.parametrize(("least", "most", "batch"), [(1, 256, 257), (4, 4, 3), (4, 4, 5)])
def test_batch_that_a_program_does_not_take_is_refused(least: int, most: int, batch: int) -> None:
    program = TimedProgram(1, Path("m.pte"), Images("x", "uint8", (3, 2, 2), least, most))
    program.check(most)
    allowed = "4" if least == most else "1 to 256"
    with pytest.raises(UserError, match=f"^--batch: m.pte does not take {batch} images at once; allowed: {allowed}$"):
        program.check(batch)


def test_runtime_that_cannot_run_what_another_runs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, runtime("One", works), runtime("Other", fails))
    found, left_out = measure([PROGRAM], Load(2, 1), seconds=0.001)
    assert [entry.runtime.name for entry in found] == ["One"]
    assert [len(entry.timed) for entry in found] == [2]
    assert left_out == ["m.onnx: Other cannot run it with batch 2, 1 thread (no kernel)"]


def test_program_that_nothing_can_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, runtime("One", fails))
    with pytest.raises(UserError, match=r"^m\.onnx: One cannot run it with batch 1, 2 threads \(no kernel\)$"):
        measure([PROGRAM], Load(1, 2), seconds=0.001)


def test_runtime_that_is_not_installed_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, runtime("One", works), Runtime("Absent", "no_such_package", fails))
    assert [entry.name for entry in PROGRAM.runtimes] == ["One"]


def test_what_to_install_is_said_where_nothing_runs_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Runtime("One", "no_such_package", fails), Runtime("Other", "nor_this", fails))
    said = r"^m\.onnx: nothing is installed that runs it; install no_such_package or nor_this$"
    with pytest.raises(UserError, match=said):
        measure([PROGRAM], Load(1, 1), seconds=0.001)
