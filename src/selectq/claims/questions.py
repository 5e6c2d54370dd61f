"""What a claim comes down to: a question to a setting's run, answered in numbers and with a verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pandas as pd
from scipy.stats import mannwhitneyu, spearmanr, t

from selectq.claims.settings import Measured
from selectq.statistics.answers import REFERENCE
from selectq.statistics.gaps import p_value
from selectq.statistics.paired import holm
from selectq.statistics.verdicts import Gap, Relation, Verdict, judge, judge_all, judge_size


@dataclass(frozen=True)
class Answer:
    """What was measured, and what follows.

    Attributes:
        ours: what was measured, in a line or several.
        brief: its main figure.
        verdict: of this run, unless chance would do: see `corrected`.
        p: the p value of the verdict, 0 where nothing is by chance.
    """

    ours: tuple[str, ...]
    brief: str
    verdict: Verdict
    p: float


LEVEL = 0.05
"""Of all verdicts."""


def corrected(answers: Sequence[Answer]) -> list[Answer]:
    """The answers to one question, each `unclear` whose p value, corrected for their number (Holm), is not small."""
    values = holm([answer.p for answer in answers])
    return [
        replace(answer, verdict=answer.verdict if value < LEVEL else "unclear", p=value)
        for answer, value in zip(answers, values, strict=True)
    ]


class Question(Protocol):
    """Can be put to the run of a setting."""

    def ask(self, measured: Measured) -> Answer:
        """The answer of this run alone.

        Raises:
            UserError: it did not measure it.
        """


@dataclass(frozen=True)
class Accuracy:
    """Whether all of these configurations stand so to their references.

    `pairs` are of configuration and reference; `claimed` are the paper's differences, where a size is claimed.
    """

    relation: Relation
    pairs: tuple[tuple[str, str], ...]
    claimed: tuple[float, ...] = ()

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; the margin is the run's."""
        gaps = [measured.gap(*pair) for pair in self.pairs]
        verdicts = [judge(gap, self.relation, measured.margin) for gap in gaps]
        values = [p_value(gap, self.relation, measured.margin) for gap in gaps]
        if self.claimed:
            verdicts = [judge_size(*one) for one in zip(gaps, self.claimed, verdicts, strict=True)]
        labels = [f"{config} - {reference}: " for config, reference in self.pairs] if len(gaps) > 1 else [""]
        ours = tuple(label + write_gap(gap) for label, gap in zip(labels, gaps, strict=True))
        verdict, brief = judge_all(verdicts), " and ".join(f"{gap.points:+.2f}" for gap in gaps)
        if verdict == "fails":  # one of several does
            return Answer(ours, brief, verdict, min(1.0, len(values) * min(values)))
        return Answer(ours, brief, verdict, max(values))


@dataclass(frozen=True)
class DriftGrows:
    """Whether a configuration's drift grows from the first block to the last."""

    config: str

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; by Spearman's rank correlation."""
        rows = block_drift(measured, self.config)
        found = spearmanr(rows["index"], rows["drift"])
        ours = f"rank correlation {found.statistic:+.2f} over {len(rows)} blocks, p = {found.pvalue:.2g}"
        return Answer((ours,), f"{found.statistic:+.2f}", _by_sign(found.statistic), float(found.pvalue))


@dataclass(frozen=True)
class DriftEnds:
    """Whether a configuration's drift in the last block is within a tenth of this value."""

    config: str
    near: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        last = float(block_drift(measured, self.config)["drift"].iloc[-1])
        return _certain(f"{last:.3f}", abs(last - self.near) <= self.near / 10)


@dataclass(frozen=True)
class ErrorStarts:
    """Whether layers of these kinds add more error of their own to their outputs than those of the other kind."""

    config: str
    kinds: tuple[str, ...]
    other: str

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; by the rank-sum test of Mann and Whitney over the layers."""
        own = _own_errors(measured, self.config)
        here, there = own[own["layer_kind"].isin(self.kinds)], own[own["layer_kind"] == self.other]
        value = float(mannwhitneyu(here["error"], there["error"]).pvalue)
        medians = [float(layers["error"].median()) for layers in (here, there)]
        brief = f"{medians[0]:.4f} against {medians[1]:.4f}"
        ours = f"median own error {brief} in the {self.other} layers, p = {value:.2g}"
        return Answer((ours,), brief, _by_sign(medians[0] - medians[1]), value)


@dataclass(frozen=True)
class ErrorTells:
    """Whether retraining wins back more, the more of the error starts in the layers that it retrains.

    `sets` are configurations, each with a scope of its own; `config` is the one without training, whose errors are
    looked at and on which they improve. Larger sets hold more of the error and win more anyway: the verdict is by the
    correlation that is left at an equal share of the parameters.
    """

    config: str
    sets: tuple[str, ...]

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; by Spearman's partial rank correlation over the sets, of the mean over the seeds."""
        own = _own_errors(measured, self.config)
        errors = [own.loc[_in_scope(own, measured.scope(name)), "error"].sum() for name in self.sets]
        shares = [measured.figure(name, "params_retrained_pct") for name in self.sets]
        before = measured.gap(self.config).points
        won = [measured.gap(name).points - before for name in self.sets]
        by_error, by_share = spearmanr(errors, won), spearmanr(shares, won)
        partial, value = partial_correlation(errors, won, shares)
        ours = (
            f"{min(won):+.2f} to {max(won):+.2f} points won back by {len(won)} sets of layers;",
            f"rank correlation with the error that starts there {by_error.statistic:+.2f}, p = {by_error.pvalue:.2g};",
            f"with their share of the parameters {by_share.statistic:+.2f}, p = {by_share.pvalue:.2g};",
            f"with the error at an equal share {partial:+.2f}, p = {value:.2g}",
        )
        return Answer(ours, f"{partial:+.2f}", _by_sign(partial), value)


@dataclass(frozen=True)
class FileShrinks:
    """Whether a configuration's file is smaller than the FP32 network's by at least this factor."""

    config: str
    factor: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        before, after = (measured.figure(name, "size_mb") for name in (REFERENCE, self.config))
        return _certain(f"{before:.2f} MB to {after:.2f} MB, {before / after:.2f} x", before / after >= self.factor)


@dataclass(frozen=True)
class RetrainsLess:
    """Whether a configuration retrains less than this share of the parameters, in percent."""

    config: str
    share: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        ours = measured.figure(self.config, "params_retrained_pct")
        return _certain(f"{ours:.2f} %", ours < self.share)


def write_gap(gap: Gap) -> str:
    """A gap with its interval, and over how many trainings it is."""
    over = f"{gap.seeds} seeds" if gap.seeds > 1 else "one"
    return f"{gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] ({over})"


def block_drift(measured: Measured, config: str) -> pd.DataFrame:
    """What has accumulated up to each block's output, from the first to the last."""
    rows = measured.block_drift
    return rows[rows["config"] == measured.name(config)].sort_values("index")


def partial_correlation(one: Sequence[float], other: Sequence[float], given: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation of two quantities at equal values of a third, and its two-sided p value."""
    between, first, second = (
        float(spearmanr(*pair).statistic) for pair in ((one, other), (one, given), (other, given))
    )
    partial = (between - first * second) / math.sqrt((1 - first**2) * (1 - second**2))
    freedom = len(one) - 3
    statistic = abs(partial) * math.sqrt(freedom / (1 - partial**2)) if abs(partial) < 1 else math.inf
    return partial, float(2 * t.sf(statistic, freedom))


def _own_errors(measured: Measured, config: str) -> pd.DataFrame:
    rows = measured.own_errors
    return rows[rows["config"] == measured.name(config)]


def _in_scope(layers: pd.DataFrame, scope: Sequence[str]) -> "pd.Series[bool]":
    by_kind = layers["layer_kind"].isin(scope) | ("all" in scope)
    return by_kind | layers["layer"].map(lambda layer: f"{layer}.".startswith(tuple(f"{name}." for name in scope)))


def _by_sign(direction: float) -> Verdict:
    return "holds" if direction > 0 else "fails"


def _certain(ours: str, holds: bool) -> Answer:
    return Answer((ours,), ours, "holds" if holds else "fails", 0.0)
