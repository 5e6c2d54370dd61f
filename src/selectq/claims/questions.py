"""What a claim comes down to: a question to a regime's run, answered in numbers and with a verdict."""

from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from scipy.stats import mannwhitneyu, spearmanr

from selectq.claims.regimes import Measured
from selectq.statistics.answers import REFERENCE
from selectq.statistics.verdicts import Gap, Relation, Verdict, judge, judge_all

LEVEL = 0.05
"""Of the tests that are not about accuracies."""

OWN_CAUSES = ("weight rounding", "clipping", "activation rounding")
"""Of a layer's drift: those that start in it."""


@dataclass(frozen=True)
class Answer:
    """What was measured, in words, and what follows."""

    ours: str
    verdict: Verdict


class Question(Protocol):
    """Can be put to the run of a regime."""

    def ask(self, measured: Measured) -> Answer:
        """The answer of this run.

        Raises:
            UserError: it did not measure it.
        """


@dataclass(frozen=True)
class Accuracy:
    """Whether all of these configurations stand so to their references; pairs of (configuration, reference)."""

    relation: Relation
    pairs: tuple[tuple[str, str], ...]

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; the margin is the run's."""
        gaps = [measured.gap(*pair) for pair in self.pairs]
        verdicts = [judge(gap, self.relation, measured.margin) for gap in gaps]
        labels = [f"{config} - {reference}: " for config, reference in self.pairs] if len(gaps) > 1 else [""]
        ours = "; ".join(label + write_gap(gap) for label, gap in zip(labels, gaps, strict=True))
        return Answer(ours, judge_all(verdicts))


@dataclass(frozen=True)
class DriftGrows:
    """Whether a configuration's drift grows from the first block to the last."""

    config: str

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; by Spearman's rank correlation."""
        rows = _block_drift(measured, self.config)
        found = spearmanr(rows["index"], rows["drift"])
        ours = f"rank correlation {found.statistic:+.2f} over {len(rows)} blocks, p = {found.pvalue:.2g}"
        return Answer(ours, _one_sided(found.statistic, found.pvalue))


@dataclass(frozen=True)
class DriftEnds:
    """Whether a configuration's drift in the last block is within a tenth of this value."""

    config: str
    near: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        last = float(_block_drift(measured, self.config)["drift"].iloc[-1])
        return Answer(f"{last:.3f}", "holds" if abs(last - self.near) <= self.near / 10 else "fails")


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
        p_value = float(mannwhitneyu(here["drift"], there["drift"]).pvalue)
        medians = [float(layers["drift"].median()) for layers in (here, there)]
        named = f"median own error {medians[0]:.4f} against {medians[1]:.4f} in the {self.other} layers"
        return Answer(f"{named}, p = {p_value:.2g}", _one_sided(medians[0] - medians[1], p_value))


@dataclass(frozen=True)
class ErrorTells:
    """Whether retraining wins back more, the more of the error starts in the layers that it retrains.

    `sets` are configurations, each with a scope of its own; `config` is the one without training, whose errors are
    looked at and on which they improve.
    """

    config: str
    sets: tuple[str, ...]

    def ask(self, measured: Measured) -> Answer:
        """See `Question`; by Spearman's rank correlation over the sets, beside that with their parameters."""
        own = _own_errors(measured, self.config)
        before = measured.figure(self.config, "int8_top1")
        errors = [
            float(own["drift"][own["layer"].isin(measured.layers[measured.name(name)])].sum()) for name in self.sets
        ]
        shares = [measured.figure(name, "params_retrained_pct") for name in self.sets]
        won = [measured.figure(name, "int8_top1") - before for name in self.sets]
        by_error, by_share = spearmanr(errors, won), spearmanr(shares, won)
        ours = (
            f"{min(won):+.2f} to {max(won):+.2f} points won back by {len(won)} sets of layers; rank correlation with"
            f" the error that starts in them {by_error.statistic:+.2f}, p = {by_error.pvalue:.2g}; with their"
            f" parameters {by_share.statistic:+.2f}, p = {by_share.pvalue:.2g}"
        )
        return Answer(ours, _one_sided(by_error.statistic, by_error.pvalue))


@dataclass(frozen=True)
class FileShrinks:
    """Whether a configuration's file is smaller than the FP32 network's by at least this factor."""

    config: str
    factor: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        before, after = (measured.figure(name, "size_mb") for name in (REFERENCE, self.config))
        text = f"{before:.2f} MB to {after:.2f} MB, {before / after:.2f} x"
        return Answer(text, "holds" if before / after >= self.factor else "fails")


@dataclass(frozen=True)
class RetrainsLess:
    """Whether a configuration retrains less than this share of the parameters, in percent."""

    config: str
    share: float

    def ask(self, measured: Measured) -> Answer:
        """See `Question`."""
        ours = measured.figure(self.config, "params_retrained_pct")
        return Answer(f"{ours:.2f} %", "holds" if ours < self.share else "fails")


def write_gap(gap: Gap) -> str:
    """A gap with its interval, and what it is over."""
    over = f"{gap.seeds} seeds" if gap.seeds > 1 else "images"
    return f"{gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] ({over})"


def _block_drift(measured: Measured, config: str) -> pd.DataFrame:
    """What has accumulated up to each block's output, from the first to the last."""
    rows = measured.drift.query("layer_kind == 'block' and kind == 'accumulated'")
    return rows[rows["config"] == measured.name(config)].sort_values("index")


def _own_errors(measured: Measured, config: str) -> pd.DataFrame:
    """What each layer adds to the error of its output: columns layer, layer_kind, drift."""
    rows = measured.causes
    rows = rows[(rows["config"] == measured.name(config)) & rows["cause"].isin(OWN_CAUSES)]
    return rows.groupby(["layer", "layer_kind"], as_index=False).agg({"drift": "sum"})


def _one_sided(direction: float, p_value: float) -> Verdict:
    if p_value >= LEVEL:
        return "unclear"
    return "holds" if direction > 0 else "fails"
