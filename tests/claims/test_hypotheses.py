"""Each hypothesis on a small run that was made up."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
from scipy.stats import t

from selectq.claims.catalogue import catalogue
from selectq.claims.hypotheses import (
    Finding,
    accuracy,
    corrected,
    drift_ends,
    drift_grows,
    error_starts,
    error_tells,
    file_shrinks,
    partial_correlation,
    retrains_less,
)
from selectq.claims.measured import Measured
from selectq.errors import UserError
from selectq.statistics.schemas import BLOCK_DRIFT, OWN_ERRORS, SECONDS

NAN = float("nan")
PAIRS = ("dw - full", "dwpw - full")


def contrast(config: str, reference: str, gap: float, seeds: int) -> dict[str, object]:
    """An interval of 0.2 points either way over the images; of 2 points over seeds, about one point more."""
    over = dict(zip(("seeds_ci_low", "seeds_ci_high"), (gap - 1, gap + 3) if seeds > 1 else (NAN, NAN), strict=True))
    interval = {"gap_points": gap, "ci_low": gap - 0.2, "ci_high": gap + 0.2}
    names = {"config": f"w4a8_{config}", "reference": reference}
    return {**names, **interval, "seed_count": seeds, "seeds_gap_points": gap + 1, **over}


@pytest.fixture
def measured() -> Measured:
    fp32 = [contrast("tensor", "fp32", -40.0, 1), contrast("full", "fp32", -0.4, 3)]
    between = [contrast("dw", "w4a8_full", -0.6, 1), contrast("dwpw", "w4a8_full", -4.0, 3)]
    layers = [f"{kind}{number}" for kind in ("depthwise", "expansion") for number in range(6)]
    errors = [("w4a8_channel", name, name[:-1], 0.1 / (at + 1)) for at, name in enumerate(layers)]
    drift = [("w4a8_channel", index, 0.1 * index) for index in range(10)] + [("x", 11, 0.0)]
    empty = pd.DataFrame()
    return Measured(
        catalogue().settings["archive/pretrained_w4a8"],
        {"statistics": {"margin_points": 0.5, "confidence": 0.95}, "qat": {}},
        contrasts=pd.DataFrame(between),
        paired=pd.DataFrame(fp32),
        methods=pd.DataFrame(fp32)[["config", "seed_count", "gap_points"]].assign(ci_low=-0.45, ci_high=-0.35),
        table1=pd.DataFrame({"config": ["w4a8_full", "w4a4_full"]}),
        table2=pd.DataFrame(
            {
                "config": ["fp32", "w4a8_full", "w4a4_full"],
                "params_retrained_pct": ["", "46.5", "0"],
                "size_mb": [9.0, 2.5, 1],
            }
        ),
        block_drift=pd.DataFrame(drift[::-1], columns=list(BLOCK_DRIFT.columns)),
        own_errors=pd.DataFrame(errors, columns=list(OWN_ERRORS.columns)),
        calibration=empty,
        seconds=SECONDS.frame([("finetune_fp32", 120.0, 2), ("qat@full", 90.0, 1)]),
    )


def test_accuracy_is_over_images_of_one_seed(measured: Measured) -> None:
    finding = accuracy(measured, "falls short", ["dw - full"])
    assert (finding.ours, finding.brief, finding.verdict) == (("-0.60 [-0.80, -0.40] (one)",), "-0.60", "unclear")
    assert accuracy(measured, "falls short", ["tensor - fp32"]).verdict == "holds"


def test_accuracy_is_over_seeds_and_images_where_there_are_enough(measured: Measured) -> None:
    """Half widths of 2 points over the seeds and 0.2 over the images."""
    finding = accuracy(measured, "falls short", ["dwpw - full"])
    assert (finding.ours, finding.verdict) == (("-3.00 [-5.01, -0.99] (3 seeds)",), "holds")
    assert accuracy(measured, "keeps up", ["full - fp32"]).ours == ("-0.40 [-0.61, -0.19] (3 seeds)",)


def test_loss_far_below_the_claimed_one_is_smaller(measured: Measured) -> None:
    verdicts = [accuracy(measured, "falls short", ["tensor - fp32"], [claimed]).verdict for claimed in (-40, -90)]
    assert verdicts == ["holds", "smaller"]


def test_several_accuracies_are_named(measured: Measured) -> None:
    finding = accuracy(measured, "is ahead", PAIRS)
    assert [line.partition(" [")[0] for line in finding.ours] == ["dw - full: -0.60", "dwpw - full: -3.00"]
    assert finding.verdict == "fails" and finding.brief == "-0.60 and -3.00"


def test_one_p_value_of_several_accuracies(measured: Measured) -> None:
    """All have to hold: the largest. One has to fail: the smallest, of so many."""
    single = [accuracy(measured, "falls short", [pair]).p for pair in PAIRS]
    assert accuracy(measured, "falls short", PAIRS).p == max(single)
    single = [accuracy(measured, "is ahead", [pair]).p for pair in PAIRS]
    assert accuracy(measured, "is ahead", PAIRS).p == 2 * min(single)


def test_verdicts_are_corrected_for_their_number() -> None:
    findings = [Finding(("",), "", "holds", p) for p in (0.04, 0.01, 0.0, 0.9)]
    found = corrected(findings)
    assert [finding.verdict for finding in found] == ["unclear", "holds", "holds", "unclear"]
    assert [finding.p for finding in found] == pytest.approx([0.08, 0.03, 0.0, 0.9])
    assert corrected(findings[:1])[0].verdict == "holds"


def test_contrast_that_was_not_asked_for(measured: Measured) -> None:
    missing = "w4a8_clf - w4a8_full is there 0 times; name it under"
    with pytest.raises(UserError, match=f"^results/archive/pretrained_w4a8: {missing}"):
        accuracy(measured, "is ahead", ["clf - full"])


def test_drift_is_what_has_accumulated_in_the_order_of_the_blocks(measured: Measured) -> None:
    finding = drift_grows(measured, "channel")
    assert finding.ours[0].startswith("rank correlation +1.00 over 10 blocks") and finding.verdict == "holds"
    assert [drift_ends(measured, "channel", near).verdict for near in (0.85, 1.0, 0.8)] == [
        "holds",
        "holds",
        "fails",
    ]


def test_error_starts_where_own_errors_are_larger(measured: Measured) -> None:
    finding = error_starts(measured, "channel", ("depthwise", "projection"), "expansion")
    assert finding.verdict == "holds" and finding.brief == "0.0292 against 0.0106"
    assert error_starts(measured, "channel", ("expansion",), "depthwise").verdict == "fails"


def sets_of_layers(measured: Measured, won: Sequence[float], shares: Sequence[float]) -> Measured:
    """The run with a configuration for each, which retrains one depthwise layer more than the one before it."""
    names = [f"w4a8_set{number}" for number in range(len(won))]
    scopes = [" + ".join(f"depthwise{at}" for at in range(number)) or "none" for number in range(len(won))]
    gaps = [contrast(name.removeprefix("w4a8_"), "fp32", gap, 1) for name, gap in zip(names, won, strict=True)]
    paired = pd.DataFrame([*gaps, contrast("channel", "fp32", 0.0, 1)])
    return replace(
        measured,
        paired=paired,
        methods=paired[["config", "seed_count", "gap_points", "ci_low", "ci_high"]],
        table1=pd.DataFrame({"config": names, "scope": scopes}),
        table2=pd.DataFrame({"config": names, "params_retrained_pct": shares}),
    )


@pytest.mark.parametrize(
    ("won", "shares", "verdict"),
    [
        ((1, 2, 5, 7, 9, 8), (2, 1, 6, 5, 4, 3), "holds"),
        ((8, 9, 7, 5, 2, 1), (2, 1, 6, 5, 4, 3), "fails"),
        ((1, 2, 5, 8, 7, 9), (2, 1, 3, 5, 4, 6), "unclear"),  # no more than their number of parameters tells
    ],
)
def test_error_tells_what_to_retrain_beyond_its_share(
    measured: Measured, won: Sequence[float], shares: Sequence[float], verdict: str
) -> None:
    names = tuple(f"set{number}" for number in range(6))
    (finding,) = corrected([error_tells(sets_of_layers(measured, won, shares), "channel", names)])
    assert finding.verdict == verdict and len(finding.ours) == 4


def test_partial_correlation_by_hand() -> None:
    """Rank correlations of 0.8, 0.6 and 0.6: (0.8 - 0.36) / 0.64; Student's t of two degrees of freedom."""
    partial, value = partial_correlation((1, 2, 3, 4, 5), (2, 1, 3, 5, 4), (2, 1, 5, 3, 4))
    assert partial == pytest.approx(0.6875)
    assert value == pytest.approx(2 * t.sf(0.6875 * (2 / (1 - 0.6875**2)) ** 0.5, 2))


def test_configurations_are_those_of_the_setting(measured: Measured) -> None:
    assert measured.configurations() == ["full"]


def test_size_and_share(measured: Measured) -> None:
    assert file_shrinks(measured, "full", 3.5).brief == "9.00 MB to 2.50 MB, 3.60 x"
    assert [file_shrinks(measured, "full", factor).verdict for factor in (3.5, 3.7)] == ["holds", "fails"]
    assert [retrains_less(measured, "full", share).verdict for share in (50, 46)] == ["holds", "fails"]


def test_minutes_are_those_of_one_core(measured: Measured) -> None:
    assert measured.minutes == 5.5
