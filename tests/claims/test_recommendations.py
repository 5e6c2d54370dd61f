"""The table of what must be retrained: out of all configurations of a situation."""

import pytest

from selectq.claims.measured import Measured
from selectq.claims.recommendations import recommendations
from selectq.cli.claims import with_results
from selectq.errors import UserError


def row(runs: dict[str, Measured], *settings: str) -> list[str]:
    *_, line = recommendations(runs, {"here": settings})
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_cheapest_that_keeps_up(runs: dict[str, Measured]) -> None:
    """PTQ loses 28 points; with PTQ algorithms it keeps up, before any retraining."""
    name, plain, what, gap, cost = row(runs, "archive/pretrained_skewed")
    assert (name, plain, what) == ("here", "-27.88", "nothing")
    assert gap.startswith("-0.16 [") and cost == "no training, 3 PTQ algorithms (`channel_algorithms`)"


def test_nearest_where_none_is_shown_to_keep_up(runs: dict[str, Measured]) -> None:
    *_, what, gap, cost = row(runs, "archive/pretrained_few_bits")
    assert what == "none tried suffices; nearest: all layers"
    assert gap.endswith("n=5")
    assert cost == "4 epochs of 100 % of the parameters, 2 PTQ algorithms (`w4a4_full_asym`)"
    *_, what, _, cost = row(runs, "archive/pretrained_few_bits", "archive/pretrained_w4a8")
    assert what.startswith("not shown; nearest: ")
    assert cost == "1 epoch of 47 % of the parameters (`w4a8_dwpw_asym`)", "out of both runs"


def test_results_are_put_between_their_lines() -> None:
    readme = "a\n<!-- results -->\nold\n<!-- /results -->\nb\n"
    assert with_results(readme, ["| x |", "| y |"]) == "a\n<!-- results -->\n| x |\n| y |\n<!-- /results -->\nb\n"
    with pytest.raises(UserError, match="no lines <!-- results"):
        with_results("a\n<!-- results -->\nb\n", [])
