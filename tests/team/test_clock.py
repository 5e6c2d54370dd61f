"""How far a parallel run is, and what is left of it."""

from pathlib import Path

from selectq.files import write_json
from selectq.team.clock import Clock

TRUNK, SHORT, LONG = ("download", "fp32"), ("ptq@a", "convert@a"), ("qat@b",)


def took(folder: Path, **seconds: float) -> None:
    for stage, value in seconds.items():
        write_json(folder / f"metrics/seconds/{stage.replace('_', '@')}.json", {"seconds": value, "threads": 1})


def test_time_left_is_that_of_an_earlier_run_at_this_runs_pace(tmp_path: Path) -> None:
    before = {"fp32": 600.0, "ptq@a": 50.0, "convert@a": 10.0, "qat@b": 240.0}
    clock = Clock(tmp_path, [TRUNK, SHORT, LONG], 2, before)
    took(tmp_path, fp32=1200.0)
    assert clock.said_when_ended(TRUNK) == "[1/3] download fp32: 0 min, about 5 min left"
    took(tmp_path, ptq_a=100.0, convert_a=20.0)
    assert clock.said_when_ended(SHORT) == "[2/3] ptq@a convert@a: 0 min, about 4 min left"
    assert clock.said_when_ended(LONG) == "[3/3] qat@b: 0 min"


def test_without_an_earlier_run_nothing_is_guessed(tmp_path: Path) -> None:
    clock = Clock(tmp_path, [TRUNK, LONG], 2, {})
    took(tmp_path, fp32=1200.0)
    assert clock.said_when_ended(TRUNK) == "[1/2] download fp32: 0 min"
