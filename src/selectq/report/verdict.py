"""The verdict of a run: what must be retrained, how sure that is, and what was not shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from selectq.config.configurations import Configuration, write_scope
from selectq.report.evidence import Evidence
from selectq.report.formatting import megabytes, percent, points_within
from selectq.report.markdown import bullet, prose
from selectq.report.tables import retrained_pct
from selectq.report.wording import shorten_scope, write_algorithms
from selectq.statistics.gaps import contrast_gap, gaps_to_fp32
from selectq.statistics.verdicts import Candidate, Gap, cheapest_that_keeps_up, judge

Standing = Literal["keeps up", "unclear", "falls short"]
STANDINGS: dict[str, Standing] = {"holds": "keeps up", "unclear": "unclear", "fails": "falls short"}
"""The verdict on `keeps up` -> what is said of the configuration, the best first."""

MOST_NAMES = 6
"""That a sentence lists."""


@dataclass(frozen=True)
class Ranking:
    """All configurations as a user would choose.

    Attributes:
        configurations: those that keep up with FP32 first, the cheapest first; then the unclear ones, then the others.
        gaps: to FP32.
        standings: by the rule of `statistics.verdicts`.
        recommended: the cheapest that keeps up, if one does.
        margin: in points, from which on a loss counts.
        confidence: of the intervals.
    """

    configurations: tuple[Configuration, ...]
    gaps: Mapping[str, Gap]
    standings: Mapping[str, Standing]
    recommended: Configuration | None
    margin: float
    confidence: float

    def of_standing(self, standing: Standing) -> list[Configuration]:
        """The configurations that stand so to FP32, in order."""
        return [one for one in self.configurations if self.standings[one.name] == standing]


def rank(configurations: Iterable[Configuration], evidence: Evidence, margin: float, confidence: float) -> Ranking:
    """Judge every configuration by its gap to FP32; `margin` in points, `confidence` of the intervals."""
    by_name = {one.name: one for one in configurations}
    gaps = gaps_to_fp32(evidence.paired, evidence.methods, confidence)
    candidates = {
        name: Candidate(name, gaps[name], len(one.algorithms), retrained_pct(evidence, name), one.epochs)
        for name, one in by_name.items()
    }
    standings = {name: STANDINGS[judge(gaps[name], "keeps up", margin)] for name in by_name}
    places = list(STANDINGS.values())
    order = sorted(by_name, key=lambda name: (places.index(standings[name]), candidates[name].cost, -gaps[name].points))
    best = cheapest_that_keeps_up(candidates.values(), margin)
    ranked = tuple(by_name[name] for name in order)
    return Ranking(ranked, gaps, standings, by_name[best.name] if best else None, margin, confidence)


@dataclass(frozen=True)
class Verdict:
    """What a run says, in Markdown: the answer, its evidence, and what it does not show."""

    answer: str
    evidence: str
    not_shown: tuple[str, ...]


def find_verdict(ranking: Ranking, evidence: Evidence, range_skew: float, missed: Iterable[str] = ()) -> Verdict:
    """The verdict; `range_skew` is the sigma of the FP32 rescaling, 0 without; `missed` what a plan does not reach."""
    limits = [*missed, *_unclear(ranking, evidence), *_alternatives(ranking, evidence), *_seeds(ranking)]
    if range_skew:
        limits.append(
            f"That your own network behaves so: the channel ranges were made unequal (`range_skew` {range_skew:g}) by a"
            " rescaling that equalization undoes by construction."
        )
    limits.append(f"Other networks and data: this is one FP32 network, on {evidence.fp32.data}.")
    return Verdict(_answer(ranking, evidence), _evidence(ranking, evidence), tuple(limits))


def _answer(ranking: Ranking, evidence: Evidence) -> str:
    best = ranking.recommended
    if best is None:
        return "**No configuration is shown to keep up with FP32 here.**"
    algorithms = write_algorithms(best.algorithms)
    if best.scope:
        share = percent(retrained_pct(evidence, best.name), 2)
        before = f", after {algorithms}" if algorithms else ""
        return (
            f"**Retrain {write_layers(best.scope)}, {share} of the parameters{before}.** `{best.name}` is the cheapest"
            " configuration that keeps up with FP32."
        )
    return (
        f"**Nothing must be retrained here.** `{best.name}` keeps up with FP32: quantized after training (PTQ) per"
        f" {best.experiment.weight_granularity}{f', with {algorithms}' if algorithms else ''}."
    )


def write_layers(scope: Sequence[str]) -> str:
    """A scope of a retraining in words."""
    text = shorten_scope(write_scope(scope))
    return "all layers" if text == "all" else text


def _evidence(ranking: Ranking, evidence: Evidence) -> str:
    named = ranking.recommended or max(ranking.configurations, key=lambda one: ranking.gaps[one.name].points)
    gap, int8, fp32 = ranking.gaps[named.name], evidence.int8[named.name], evidence.fp32
    seeds = f", mean of {gap.seeds} seeds" if gap.seeds > 1 else ", one seed" if named.scope else ""
    found = "" if ranking.recommended else f"nearest is `{named.name}`, "
    top1 = evidence.methods.set_index("config")["top1"][named.name] if gap.seeds > 1 else int8.test_top1
    simulated = "" if int8.integer_arithmetic else ", simulated"
    return (
        f"{found}gap to FP32 {points_within(gap.points, gap.low, gap.high)} points ({100 * ranking.confidence:g} %"
        f" interval; it keeps up if above −{ranking.margin:g}) on {int8.test_images:,} test images{seeds}{simulated};"
        f" top-1 {percent(top1, 2)}, FP32 {percent(fp32.test_top1, 2)};"
        f" {megabytes(int8.size_bytes)} instead of {megabytes(fp32.size_bytes)}."
    )


def _unclear(ranking: Ranking, evidence: Evidence) -> list[str]:
    unclear = ranking.of_standing("unclear")
    if not unclear:
        return []
    return [
        f"Whether {_names(unclear)} {'keep' if len(unclear) > 1 else 'keeps'} up: −{ranking.margin:g} points lie within"
        f" the interval. More than {evidence.fp32.test_images:,} test images would narrow it."
    ]


def _alternatives(ranking: Ranking, evidence: Evidence) -> list[str]:
    """What the other way, with or without training, might do better."""
    best = ranking.recommended
    if best is None:
        return []
    if best.scope:
        tried = any(one.algorithms for one in ranking.configurations if not one.scope)
        missing = "That retraining is needed: no PTQ algorithm (equalization, bias correction) was tried without it."
        return [] if tried else [missing]
    trained = [one for one in ranking.configurations if one.scope]
    if not trained:
        return ["What retraining would gain: none was tried."]
    rival = max(trained, key=lambda one: ranking.gaps[one.name].points)
    lead = _contrast(evidence.contrasts, rival.name, best.name, ranking.confidence)
    if lead is None:
        return [f"What retraining gains: `{rival.name}`, the best, was not compared with `{best.name}`."]
    measured = f"`{rival.name}`, {points_within(lead.points, lead.low, lead.high)} points against `{best.name}`"
    if judge(lead, "is ahead", ranking.margin) == "holds":
        return [f"That nothing is more accurate: retraining is ahead ({measured})."]
    return [f"That retraining gains anything (the best: {measured})."]


def _contrast(contrasts: pd.DataFrame, name: str, reference: str, confidence: float) -> Gap | None:
    """The difference of two configurations, whichever way round it was asked for."""
    for row in contrasts.to_dict("records"):
        if {row["config"], row["reference"]} == {name, reference}:
            gap = contrast_gap(row, confidence)
            return gap if row["config"] == name else replace(gap, points=-gap.points, low=-gap.high, high=-gap.low)
    return None


def _seeds(ranking: Ranking) -> list[str]:
    once = [one for one in ranking.configurations if one.scope and ranking.gaps[one.name].seeds == 1]
    if not once or (ranking.recommended and not ranking.recommended.scope):
        return []
    return [f"How far another seed would differ: {_names(once)} {'were' if len(once) > 1 else 'was'} judged by one."]


def _names(configurations: Sequence[Configuration]) -> str:
    listed = [f"`{one.name}`" for one in configurations[:MOST_NAMES]]
    more = len(configurations) - MOST_NAMES
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def verdict_markdown(verdict: Verdict) -> str:
    """A few lines for a terminal or a pull request."""
    lines = [*prose(verdict.answer), "", *bullet(f"Evidence: {verdict.evidence}"), "- Not shown:"]
    lines += [f"  {line}" for limit in verdict.not_shown for line in bullet(limit)]
    return "\n".join([*lines, ""])


def ranking_json(ranking: Ranking) -> dict[str, Any]:
    """The same for programs: the recommended configuration (null if none), and where every one stands."""
    best = ranking.recommended
    return {"recommended": best.name if best else None, "standings": dict(ranking.standings)}
