"""A result's ratio, verdict and row."""

import math
from pathlib import Path

import pytest
from report import COLUMNS, Case, Result, draw, sentence, table
from timing import Timing, Trainer
from workload import Workload


def _unused(workload: Workload) -> Trainer:
    raise AssertionError("reporting builds nothing")


def _result(goal: float | None, ours: list[float], peer: list[float]) -> Result:
    return Result(Case("case", "peer, NCHW", goal, _unused, _unused), Timing(ours, peer))


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (1.501, False), (None, None)])
def test_goal_is_met_at_its_value(goal: float | None, met: bool | None) -> None:
    assert _result(goal, [300.0], [200.0]).met is met


def test_verdict_agrees_with_the_ratio_that_is_printed() -> None:
    result = _result(1.5, [1.4996], [1.0])
    assert result.ratio == 1.5
    assert result.met


def test_row() -> None:
    rows = table([_result(1.5, [301.04, 299.0, 310.0], [150.0, 149.5, 100.0])])
    assert list(rows.columns) == COLUMNS
    assert rows.iloc[0].to_list() == ["case", 301.0, "peer, NCHW", 149.5, 2.007, 1.5, True, 3]


def test_row_without_a_goal_leaves_goal_and_verdict_empty() -> None:
    rows = table([_result(1.5, [3.0], [1.0]), _result(None, [3.0], [1.0])])
    assert math.isnan(rows["goal"][1])
    assert rows["met"].to_list() == [True, None]


def test_sentence_names_medians_spread_and_a_missed_goal() -> None:
    text = sentence(_result(1.5, [110.0, 120.0, 130.0], [100.0, 100.0, 100.0]))
    assert text == (
        "case: ours 120 images/s (110 to 130); peer, NCHW 100 (100 to 100); ratio 1.20 (1.10 to 1.30); goal 1.5 MISSED"
    )


def test_picture_is_written(tmp_path: Path) -> None:
    path = tmp_path / "speed.png"
    draw([_result(1.5, [3.0, 3.3], [2.0, 2.0]), _result(None, [3.0], [2.0])], "a machine", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
