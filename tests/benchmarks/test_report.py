"""A comparison's ratio, verdict and row."""

import math
from pathlib import Path

import pytest
from report import COLUMNS, Comparison, draw, sentence, table

from selectq.latency.turns import Timing


def _comparison(goal: float | None, ours: list[float], peer: list[float]) -> Comparison:
    return Comparison("case", Timing(ours, peer), "peer, NCHW", goal)


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (1.501, False), (None, None)])
def test_goal_is_met_at_its_value(goal: float | None, met: bool | None) -> None:
    assert _comparison(goal, [300.0], [200.0]).met is met


def test_verdict_agrees_with_the_ratio_that_is_printed() -> None:
    result = _comparison(1.5, [1.4996], [1.0])
    assert result.ratio == 1.5
    assert result.met


@pytest.mark.parametrize(("seconds", "ratio", "met"), [([1.0, 1.6, 4.0], 1.25, True), ([2.5], 0.8, False)])
def test_a_limit_is_kept_by_what_is_smaller(seconds: list[float], ratio: float, met: bool) -> None:
    result = Comparison.of_limit("start_s", seconds, 2.0)
    assert (result.ratio, result.met) == (ratio, met)
    row = table([result]).iloc[0]
    assert (row["peer_name"], row["peer"], row["goal"]) == ("limit", 2.0, 1.0)


def test_a_bound_has_a_share_and_no_verdict() -> None:
    result = Comparison.with_bound("step", [300.0, 500.0, 400.0], 1000.0, "bound: 3 FLOP")
    assert (result.ratio, result.met) == (0.4, None)


def test_row() -> None:
    rows = table([_comparison(1.5, [301.04, 299.0, 310.0], [150.0, 149.5, 100.0])])
    assert list(rows.columns) == COLUMNS
    assert rows.iloc[0].to_list() == ["case", 301.04, "peer, NCHW", 149.5, 2.007, 1.5, True, 3]


def test_row_without_a_goal_leaves_goal_and_verdict_empty() -> None:
    rows = table([_comparison(1.5, [3.0], [1.0]), _comparison(None, [3.0], [1.0])])
    assert math.isnan(rows["goal"][1])
    assert rows["met"].to_list() == [True, None]


def test_row_without_a_peer_leaves_all_of_it_empty() -> None:
    result = Comparison("memory_mb", Timing([12.3], []), None, None)
    row = table([result]).iloc[0]
    assert row["ours"] == 12.3
    assert row[["peer_name", "peer", "ratio", "goal", "met"]].isna().all()
    assert sentence(result) == "memory_mb: 12.3 (12.3 to 12.3)"


def test_sentence_names_medians_spread_and_a_missed_goal() -> None:
    text = sentence(_comparison(1.5, [110.0, 120.0, 130.0], [100.0, 100.0, 100.0]))
    assert text == ("case: 120 (110 to 130); peer, NCHW 100 (100 to 100); ratio 1.20 (1.10 to 1.30); goal 1.5 MISSED")


def test_picture_is_written(tmp_path: Path) -> None:
    path = tmp_path / "speed.png"
    lonely = Comparison("memory_mb", Timing([12.3], []), None, None)
    draw([_comparison(1.5, [3.0, 3.3], [2.0, 2.0]), _comparison(None, [3.0], [2.0]), lonely], "a machine", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
