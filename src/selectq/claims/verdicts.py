"""From an interval to a verdict."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "cannot tell"]
Relation = Literal["falls short", "keeps up", "is ahead"]


@dataclass(frozen=True)
class Gap:
    """A configuration's accuracy minus its reference's, in points, with its interval.

    `seeds` is how many trainings of each the interval is over; of one, it is over the choice of the test images.
    """

    points: float
    low: float
    high: float
    seeds: int


def judge(gap: Gap, relation: Relation, margin: float) -> Verdict:
    """Whether a configuration stands to its reference as is claimed.

    Args:
        gap: measured.
        relation: `falls short`: loses more than the margin; `keeps up`: does not; `is ahead`: gains anything.
        margin: in points, what is worth naming. A lead of less than it is no lead.

    Returns:
        `cannot tell` where the interval holds both answers.
    """
    if relation == "falls short":
        return _verdict(holds=gap.high < -margin, fails=gap.low > -margin)
    if relation == "keeps up":
        return _verdict(holds=gap.low > -margin, fails=gap.high < -margin)
    return _verdict(holds=gap.low > 0, fails=gap.high < margin)


def judge_all(verdicts: Collection[Verdict]) -> Verdict:
    """Of a claim that says several things at once: it holds if all do, and fails if one does."""
    return _verdict(holds=set(verdicts) == {"holds"}, fails="does not hold" in verdicts)


def _verdict(*, holds: bool, fails: bool) -> Verdict:
    if holds:
        return "holds"
    return "does not hold" if fails else "cannot tell"
