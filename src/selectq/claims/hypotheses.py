"""What a claim comes down to: a hypothesis about a setting's run, tested and answered with a verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from scipy.stats import mannwhitneyu, spearmanr, t

from selectq.claims.catalogue import Claim, catalogue
from selectq.claims.measured import Measured, Runs
from selectq.statistics.gaps import p_value
from selectq.statistics.paired import holm
from selectq.statistics.predictions import REFERENCE
from selectq.statistics.verdicts import Gap, Relation, Verdict, judge, judge_all, judge_size


@dataclass(frozen=True)
class Finding:
    """What was measured, in a line or several and as one figure, and what follows.

    `verdict` is of this run, unless chance would do: see `corrected`; `p` is its p value, 0 where nothing is by chance.
    """

    ours: tuple[str, ...]
    brief: str
    verdict: Verdict
    p: float


Judged = Mapping[str, Mapping[str, Finding]]
"""Claim -> setting -> finding."""

LEVEL = 0.05
"""Of all verdicts."""


def judge_claims(runs: Runs) -> dict[str, dict[str, Finding]]:
    """Every claim in every setting of it; verdicts are corrected for their number in a group of settings.

    Raises:
        UserError: a run lacks what a claim asks.
    """
    return {key: _judge(claim, runs) for key, claim in catalogue().claims.items()}


def _judge(claim: Claim, runs: Runs) -> dict[str, Finding]:
    findings: dict[str, Finding] = {}
    for group in catalogue().groups.values():
        asked = [setting for setting in group if setting in claim.settings]
        findings |= zip(asked, corrected([ask(claim, runs[setting]) for setting in asked]), strict=True)
    return findings


def ask(claim: Claim, measured: Measured) -> Finding:
    """What one run alone says of a claim.

    Raises:
        UserError: it did not measure it.
    """
    name, arguments = claim.test
    return HYPOTHESES[name](measured, **arguments)


def corrected(findings: Sequence[Finding]) -> list[Finding]:
    """The findings on one claim, each `unclear` whose p value, corrected for their number (Holm), is not small."""
    values = holm([finding.p for finding in findings])
    return [
        replace(finding, verdict=finding.verdict if value < LEVEL else "unclear", p=value)
        for finding, value in zip(findings, values, strict=True)
    ]


def accuracy(measured: Measured, relation: Relation, pairs: Sequence[str], claimed: Sequence[float] = ()) -> Finding:
    """Whether all of these configurations stand so to their references; the margin is the run's.

    `pairs` are `configuration - reference`; `claimed` are the paper's differences, where a size is claimed.
    """
    gaps = [measured.gap(*pair.split(" - ")) for pair in pairs]
    verdicts = [judge(gap, relation, measured.margin) for gap in gaps]
    values = [p_value(gap, relation, measured.margin) for gap in gaps]
    if claimed:
        verdicts = [judge_size(*one) for one in zip(gaps, claimed, verdicts, strict=True)]
    labels = [f"{pair}: " for pair in pairs] if len(gaps) > 1 else [""]
    ours = tuple(label + write_gap(gap) for label, gap in zip(labels, gaps, strict=True))
    verdict, brief = judge_all(verdicts), " and ".join(f"{gap.points:+.2f}" for gap in gaps)
    # If it fails, one of several does; else all have to hold.
    return Finding(ours, brief, verdict, min(1.0, len(values) * min(values)) if verdict == "fails" else max(values))


def write_gap(gap: Gap) -> str:
    """A gap with its interval, and over how many trainings it is."""
    over = f"{gap.seeds} seeds" if gap.seeds > 1 else "one"
    return f"{gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] ({over})"


def drift_grows(measured: Measured, config: str) -> Finding:
    """Whether a configuration's drift grows from the first block to the last: by Spearman's rank correlation."""
    rows = measured.drift_of_blocks(config)
    found = spearmanr(rows["index"], rows["drift"])
    ours = f"rank correlation {found.statistic:+.2f} over {len(rows)} blocks, p = {found.pvalue:.2g}"
    return Finding((ours,), f"{found.statistic:+.2f}", _by_sign(found.statistic), float(found.pvalue))


def drift_ends(measured: Measured, config: str, near: float) -> Finding:
    """Whether a configuration's drift in the last block is within a tenth of this value."""
    last = float(measured.drift_of_blocks(config)["drift"].iloc[-1])
    return _certain(f"{last:.3f}", abs(last - near) <= near / 10)


def error_starts(measured: Measured, config: str, kinds: Sequence[str], other: str) -> Finding:
    """Whether layers of these kinds add more error of their own to their outputs than those of the other kind.

    By the rank-sum test of Mann and Whitney over the layers.
    """
    own = measured.own_errors_of(config)
    here, there = own[own["layer_kind"].isin(kinds)], own[own["layer_kind"] == other]
    value = float(mannwhitneyu(here["error"], there["error"]).pvalue)
    medians = [float(layers["error"].median()) for layers in (here, there)]
    brief = f"{medians[0]:.4f} against {medians[1]:.4f}"
    ours = f"median own error {brief} in the {other} layers, p = {value:.2g}"
    return Finding((ours,), brief, _by_sign(medians[0] - medians[1]), value)


def error_tells(measured: Measured, config: str, sets: Sequence[str]) -> Finding:
    """Whether retraining wins back more, the more of the error starts in the layers that it retrains.

    `sets` are configurations, each with a scope of its own; `config` is the one without training, whose errors are
    looked at and on which they improve. Larger sets hold more of the error and win more anyway: the verdict is by the
    correlation (Spearman's partial one, of the mean over the seeds) that is left at an equal share of the parameters.
    """
    own = measured.own_errors_of(config)
    errors = [own.loc[_in_scope(own, measured.scope(name)), "error"].sum() for name in sets]
    shares = [measured.figure(name, "params_retrained_pct") for name in sets]
    before = measured.gap(config).points
    won = [measured.gap(name).points - before for name in sets]
    by_error, by_share = spearmanr(errors, won), spearmanr(shares, won)
    partial, value = partial_correlation(errors, won, shares)
    ours = (
        f"{min(won):+.2f} to {max(won):+.2f} points won back by {len(won)} sets of layers;",
        f"rank correlation with the error that starts there {by_error.statistic:+.2f}, p = {by_error.pvalue:.2g};",
        f"with their share of the parameters {by_share.statistic:+.2f}, p = {by_share.pvalue:.2g};",
        f"with the error at an equal share {partial:+.2f}, p = {value:.2g}",
    )
    return Finding(ours, f"{partial:+.2f}", _by_sign(partial), value)


def partial_correlation(one: Sequence[float], other: Sequence[float], given: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation of two quantities at equal values of a third, and its two-sided p value."""
    between, first, second = (
        float(spearmanr(*pair).statistic) for pair in ((one, other), (one, given), (other, given))
    )
    partial = (between - first * second) / math.sqrt((1 - first**2) * (1 - second**2))
    freedom = len(one) - 3
    statistic = abs(partial) * math.sqrt(freedom / (1 - partial**2)) if abs(partial) < 1 else math.inf
    return partial, float(2 * t.sf(statistic, freedom))


def _in_scope(layers: pd.DataFrame, scope: Sequence[str]) -> "pd.Series[bool]":
    by_kind = layers["layer_kind"].isin(scope) | ("all" in scope)
    return by_kind | layers["layer"].map(lambda layer: f"{layer}.".startswith(tuple(f"{name}." for name in scope)))


def file_shrinks(measured: Measured, config: str, factor: float) -> Finding:
    """Whether a configuration's file is smaller than the FP32 network's by at least this factor."""
    before, after = (measured.figure(name, "size_mb") for name in (REFERENCE, config))
    return _certain(f"{before:.2f} MB to {after:.2f} MB, {before / after:.2f} x", before / after >= factor)


def retrains_less(measured: Measured, config: str, share: float) -> Finding:
    """Whether a configuration retrains less than this share of the parameters, in percent."""
    ours = measured.figure(config, "params_retrained_pct")
    return _certain(f"{ours:.2f} %", ours < share)


def _by_sign(direction: float) -> Verdict:
    return "holds" if direction > 0 else "fails"


def _certain(ours: str, holds: bool) -> Finding:
    return Finding((ours,), ours, "holds" if holds else "fails", 0.0)


HYPOTHESES: dict[str, Callable[..., Finding]] = {
    each.__name__: each
    for each in (accuracy, drift_grows, drift_ends, error_starts, error_tells, file_shrinks, retrains_less)
}
