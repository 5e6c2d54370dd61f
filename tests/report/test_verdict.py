"""The verdict: the cheapest that keeps up, its evidence, and what a reader must not read into it."""

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest

from selectq.config.configurations import Configuration
from selectq.report.evidence import Evidence
from selectq.report.verdict import Ranking, Verdict, find_verdict, rank, ranking_json, verdict_markdown


def ranked(configurations: list[Configuration], evidence: Evidence, margin: float = 0.5) -> Ranking:
    return rank(configurations, evidence, margin, 0.95)


def with_gaps(evidence: Evidence, **gaps: float) -> Evidence:
    """The evidence with other gaps to FP32 of some configurations, each known to 0.2 points, of one training each."""
    paired = evidence.paired.copy()
    for name, gap in gaps.items():
        chosen = (paired["config"] == name) & (paired["reference"] == "fp32")
        paired.loc[chosen, ["gap_points", "ci_low", "ci_high"]] = gap, gap - 0.2, gap + 0.2
    methods = evidence.methods.assign(seed_count=1)
    return dataclasses.replace(evidence, paired=paired, methods=methods)


def said(configurations: list[Configuration], evidence: Evidence, **gaps: float) -> tuple[Ranking, Verdict]:
    changed = with_gaps(evidence, **gaps)
    ranking = ranked(configurations, changed)
    return ranking, find_verdict(ranking, changed, 0.0)


def test_the_only_one_that_keeps_up_is_recommended_and_the_others_follow_by_cost(
    configurations: list[Configuration], evidence: Evidence
) -> None:
    """`full` is at the margin; `dwpw`'s interval over three seeds is wide."""
    ranking = ranked(configurations, evidence)
    assert ranking_json(ranking)["recommended"] == "dwpw_asym"
    assert list(ranking_json(ranking)["standings"].items()) == [
        *(("tensor", "falls short"), ("channel", "falls short"), ("full", "unclear")),
        *(("dwpw", "unclear"), ("dwpw_asym", "keeps up"), ("mine", "falls short")),
    ]
    order = [one.name for one in ranking.configurations]
    assert order == ["dwpw_asym", "dwpw", "full", "channel", "tensor", "mine"]


def test_no_training_comes_before_training_though_it_is_less_accurate(
    configurations: list[Configuration], evidence: Evidence
) -> None:
    ranking, verdict = said(configurations, evidence, tensor=-0.2, channel=-0.1, mine=0.3)
    assert [one.name for one in ranking.of_standing("keeps up")][:3] == ["channel", "tensor", "mine"]
    assert verdict.answer.startswith("**Nothing must be retrained here.** `channel`")
    assert "−0.10 [−0.30, +0.10] points" in verdict.evidence and "2,500 test images" in verdict.evidence


def test_retraining_names_layers_share_and_seeds(configurations: list[Configuration], evidence: Evidence) -> None:
    _, verdict = said(configurations, evidence)
    assert "Retrain depthwise + projection + classifier, 46.50 % of the parameters" in verdict.answer
    assert "one seed; top-1 90.40 %, FP32 90.00 %; 2.64 MB instead of 9.12 MB." in verdict.evidence
    assert any("no PTQ algorithm" in limit for limit in verdict.not_shown)
    assert any("another seed" in limit for limit in verdict.not_shown)


def test_nothing_keeps_up(configurations: list[Configuration], evidence: Evidence) -> None:
    ranking, verdict = said(configurations, evidence, dwpw_asym=-0.6, full=-3.0)
    assert ranking_json(ranking)["recommended"] is None
    assert "No configuration is shown to keep up" in verdict.answer and "nearest is `dwpw_asym`" in verdict.evidence
    assert any("Whether `dwpw_asym` keeps up" in limit for limit in verdict.not_shown)


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (lambda row: {"gap_points": 2.0, "ci_low": 1.5, "ci_high": 2.5}, "That nothing is more accurate"),
        (lambda row: {"gap_points": 0.3, "ci_low": -0.1, "ci_high": 0.7}, "That retraining gains anything"),
        (lambda row: {"config": "full"}, "was not compared with `channel`"),
        (
            lambda row: {
                "config": "channel",
                "reference": "dwpw_asym",
                "gap_points": -2.0,
                "ci_low": -2.5,
                "ci_high": -1.5,
            },
            "`dwpw_asym`, +2.00 [+1.50, +2.50] points",
        ),
    ],
    ids=["ahead", "no lead", "not compared", "the other way round"],
)
def test_what_retraining_would_gain(
    lead: Callable[[dict[str, object]], dict[str, object]],
    words: str,
    configurations: list[Configuration],
    evidence: Evidence,
) -> None:
    row = evidence.contrasts.iloc[0].to_dict() | {"config": "dwpw_asym", "reference": "channel"}
    contrasts = pd.DataFrame([row | lead(row)])
    _, verdict = said(configurations, dataclasses.replace(evidence, contrasts=contrasts), channel=0.1)
    assert sum(words in limit for limit in verdict.not_shown) == 1, verdict.not_shown


def test_ranges_made_unequal_are_named(configurations: list[Configuration], evidence: Evidence) -> None:
    texts = [" ".join(find_verdict(ranked(configurations, evidence), evidence, skew).not_shown) for skew in (0.0, 1.1)]
    assert "range_skew" not in texts[0] and "`range_skew` 1.1" in texts[1]


def test_markdown_is_a_few_short_lines(configurations: list[Configuration], evidence: Evidence) -> None:
    text = verdict_markdown(find_verdict(ranked(configurations, evidence), evidence, 1.1))
    assert text.startswith("**") and "\n- Evidence: " in text and "\n- Not shown:\n  - " in text
    assert len(text.splitlines()) < 20 and max(map(len, text.splitlines())) < 120
