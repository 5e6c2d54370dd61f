"""From an interval to a verdict: the one rule of all tables and pages.

A difference counts from the margin on (`statistics.margin_points`), and a statement is judged by the whole interval:

- `falls short` says: below -margin; `keeps up`: above -margin; `is ahead`: above +margin.
- It holds if the whole interval lies where it says, and fails if the whole interval lies on the other side.
- Otherwise it is unclear. So a configuration is ahead of another exactly if the other falls short of it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "smaller", "fails", "unclear"]
Relation = Literal["falls short", "keeps up", "is ahead"]


@dataclass(frozen=True)
class Gap:
    """A configuration's accuracy minus its reference's, in points, with its interval.

    Attributes:
        points: the difference: negative is a loss.
        low, high: the interval.
        seeds: how many trainings of each the interval is over; of one, it is over the choice of the test images alone.
        image_error: the standard error for the choice of the test images, in points.
        seed_error: that of the mean over the seeds, 0 of one.
    """

    points: float
    low: float
    high: float
    seeds: int
    image_error: float = 0.0
    seed_error: float = 0.0


def bound_of(relation: Relation, margin: float) -> float:
    """The gap, in points, above or below which a relation begins."""
    return margin if relation == "is ahead" else -margin


def judge(gap: Gap, relation: Relation, margin: float) -> Verdict:
    """Whether a configuration stands to its reference as is said; `margin` in points. See the module's rule."""
    bound = bound_of(relation, margin)
    above, below = gap.low > bound, gap.high < bound
    if relation == "falls short":
        above, below = below, above
    if above:
        return "holds"
    return "fails" if below else "unclear"


def judge_size(gap: Gap, claimed: float, verdict: Verdict) -> Verdict:
    """The verdict `holds` becomes `smaller` where the whole interval is nearer to 0 than half the claimed points."""
    largest = gap.high if claimed > 0 else -gap.low
    return "smaller" if verdict == "holds" and largest < abs(claimed) / 2 else verdict


def judge_all(verdicts: Collection[Verdict]) -> Verdict:
    """Of a claim that says several things at once: the worst of their verdicts."""
    worst_first: tuple[Verdict, ...] = ("fails", "unclear", "smaller", "holds")
    return min(verdicts, key=worst_first.index)


@dataclass(frozen=True)
class Candidate:
    """A configuration that might be recommended: its gap to FP32, how many PTQ algorithms, what share is retrained (0
    without training) and for how many epochs.
    """

    name: str
    gap: Gap
    algorithms: int
    retrained_pct: float
    epochs: int

    @property
    def cost(self) -> tuple[bool, int, float, int]:
        """No training before training, fewer PTQ algorithms before more, fewer parameters, fewer epochs."""
        return self.retrained_pct > 0, self.algorithms, self.retrained_pct, self.epochs


def cheapest_that_keeps_up(candidates: Iterable[Candidate], margin: float) -> Candidate | None:
    """The recommendation: of those that keep up with FP32 the cheapest, of equally cheap the most accurate."""
    kept = [one for one in candidates if judge(one.gap, "keeps up", margin) == "holds"]
    return min(kept, key=lambda one: (one.cost, -one.gap.points), default=None)
