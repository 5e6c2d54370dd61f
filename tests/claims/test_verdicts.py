"""From an interval to a verdict."""

import pytest

from selectq.claims.verdicts import Gap, Relation, Verdict, judge, judge_all


@pytest.mark.parametrize(
    ("low", "high", "relation", "verdict"),
    [
        (-9.0, -0.6, "falls short", "holds"),
        (-0.4, 0.3, "falls short", "does not hold"),
        (-0.6, -0.4, "falls short", "cannot tell"),
        (-0.4, -0.3, "keeps up", "holds"),
        (-9.0, -0.6, "keeps up", "does not hold"),
        (-0.6, 0.2, "keeps up", "cannot tell"),
        (0.1, 0.3, "is ahead", "holds"),
        (-0.1, 0.4, "is ahead", "does not hold"),
        (-0.1, 0.6, "is ahead", "cannot tell"),
    ],
)
def test_the_whole_interval_has_to_say_so(low: float, high: float, relation: Relation, verdict: Verdict) -> None:
    assert judge(Gap((low + high) / 2, low, high, 1), relation, margin=0.5) == verdict


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "cannot tell"], "cannot tell"),
        (["cannot tell", "does not hold"], "does not hold"),
    ],
)
def test_several_at_once(verdicts: list[Verdict], together: Verdict) -> None:
    assert judge_all(verdicts) == together
