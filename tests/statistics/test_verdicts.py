"""From an interval to a verdict, and from verdicts to a recommendation."""

import pytest

from selectq.statistics.verdicts import (
    Candidate,
    Gap,
    Relation,
    Verdict,
    cheapest_that_keeps_up,
    judge,
    judge_all,
    judge_size,
)


def gap(low: float, high: float) -> Gap:
    return Gap((low + high) / 2, low, high, 1)


@pytest.mark.parametrize(
    ("low", "high", "falls_short", "keeps_up", "is_ahead"),
    [
        (-9.0, -0.6, "holds", "fails", "fails"),
        (-0.6, -0.4, "unclear", "unclear", "fails"),
        (-0.4, 0.3, "fails", "holds", "fails"),
        (0.11, 0.35, "fails", "holds", "fails"),  # a lead, but none of half a point
        (0.2, 0.93, "fails", "holds", "unclear"),
        (0.6, 9.0, "fails", "holds", "holds"),
        (-0.6, 0.6, "unclear", "unclear", "unclear"),
    ],
)
def test_the_whole_interval_has_to_say_so(
    low: float, high: float, falls_short: Verdict, keeps_up: Verdict, is_ahead: Verdict
) -> None:
    relations: tuple[Relation, ...] = ("falls short", "keeps up", "is ahead")
    assert [judge(gap(low, high), relation, 0.5) for relation in relations] == [falls_short, keeps_up, is_ahead]
    assert judge(gap(-high, -low), "falls short", 0.5) == is_ahead, "ahead of it: it falls short of this"


@pytest.mark.parametrize(
    ("low", "high", "claimed", "verdict"),
    [
        (-2.2, -1.37, -51.31, "smaller"),
        (-28.4, -26.4, -27.62, "holds"),
        (-60.0, -55.0, -5.31, "holds"),
        (-26.0, -1.0, -51.31, "holds"),  # half of it is not excluded
        (1.0, 2.0, 25.11, "smaller"),
    ],
)
def test_half_of_the_claimed_size_must_be_possible(low: float, high: float, claimed: float, verdict: Verdict) -> None:
    assert judge_size(gap(low, high), claimed, "holds") == verdict
    assert judge_size(gap(low, high), claimed, "fails") == "fails"


def test_several_at_once_are_judged_by_the_worst() -> None:
    assert judge_all(["holds", "holds"]) == "holds"
    assert judge_all(["holds", "smaller"]) == "smaller"
    assert judge_all(["holds", "unclear"]) == "unclear"
    assert judge_all(["unclear", "fails"]) == "fails"


def candidate(name: str, low: float, cost: tuple[int, float, int]) -> Candidate:
    return Candidate(name, gap(low, 0.1), *cost)


def test_the_cheapest_that_keeps_up_is_recommended() -> None:
    lossy = candidate("plain", -30.0, (0, 0.0, 0))
    many, few = candidate("three", -0.1, (3, 0.0, 0)), candidate("one", -0.4, (1, 0.0, 0))
    part, whole = candidate("part", -0.2, (0, 46.5, 1)), candidate("whole", 0.0, (0, 100.0, 1))
    longer = candidate("longer", 0.0, (0, 46.5, 4))
    chosen = [[whole, longer, part, many, few, lossy], [whole, longer, part, many], [whole, longer, part], [lossy]]
    names = [found.name if (found := cheapest_that_keeps_up(some, 0.5)) else None for some in chosen]
    assert names == ["one", "three", "part", None]


def test_of_equally_cheap_ones_the_most_accurate_is_recommended() -> None:
    tensor, channel = candidate("tensor", -0.3, (0, 0.0, 0)), candidate("channel", -0.2, (0, 0.0, 0))
    assert cheapest_that_keeps_up([tensor, channel], 0.5) == channel
