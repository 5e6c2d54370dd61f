"""A result's ratio, verdict, row and bar."""

import math
from pathlib import Path

import pytest
from int8_cases import Setting
from int8_picture import draw
from int8_report import COLUMNS, Result, sentence, table

from selectq.latency.turns import Spread, Timing

ONE_THREAD = Setting(64, 1)


def _result(
    goal: float | None, ours: list[float], peer: list[float], case: str = "case", setting: Setting = ONE_THREAD
) -> Result:
    return Result(case, setting, "peer, FP32", goal, Timing(ours, peer))


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (1.501, False), (None, None)])
def test_goal_is_met_at_its_value(goal: float | None, met: bool | None) -> None:
    assert _result(goal, [300.0], [200.0]).met is met


def test_verdict_agrees_with_the_ratio_that_is_printed() -> None:
    assert _result(0.98, [0.9796], [1.0]).met
    assert not _result(0.98, [0.9794], [1.0]).met


def test_ratio_is_taken_round_by_round() -> None:
    result = _result(None, [10.0, 20.0, 30.0], [10.0, 5.0, 20.0])
    assert result.ratio == 1.5
    assert result.ratios == Spread(1.0, 1.5, 4.0)


def test_row() -> None:
    rows = table([_result(1.5, [301.04, 299.0, 310.0], [150.0, 149.5, 100.0])])
    assert list(rows.columns) == COLUMNS
    assert rows.iloc[0].to_list() == ["case", 64, 1, 301.0, "peer, FP32", 149.5, 2.007, 1.5, True, 3]


def test_row_without_a_goal_leaves_goal_and_verdict_empty() -> None:
    rows = table([_result(1.5, [3.0], [1.0]), _result(None, [3.0], [1.0])])
    assert math.isnan(rows["goal"][1])
    assert rows["met"].to_list() == [True, None]


def test_sentence_names_medians_spread_and_a_missed_goal() -> None:
    text = sentence(_result(1.5, [110.0, 120.0, 130.0], [100.0, 100.0, 100.0], setting=Setting(1, 2)))
    assert text == (
        "case, batch 1, 2 threads: ours 120 images/s (110 to 130); peer, FP32 100 (100 to 100); "
        "ratio 1.20 (1.10 to 1.30); goal 1.5 MISSED"
    )


@pytest.mark.parametrize("settings", [[Setting(1, 1)], [Setting(1, 1), Setting(64, 1), Setting(1, 2), Setting(64, 2)]])
def test_picture_is_written(tmp_path: Path, settings: list[Setting]) -> None:
    results = [
        _result(goal, [3.0, 3.3], [2.0, 4.0], case, setting)
        for case, goal in (("one", 1.5), ("other", None))
        for setting in settings
    ]
    path = tmp_path / "int8.png"
    draw(results, "a machine", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
