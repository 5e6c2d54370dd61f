"""From the rows of a run's tables to gaps, by hand."""

import math

import pandas as pd
import pytest
from scipy.stats import norm, t

from selectq.statistics.gaps import contrast_gap, gaps_to_fp32, p_value
from selectq.statistics.verdicts import Relation

IMAGES = {"gap_points": -1.0, "ci_low": -1.0 - 1.96 * 0.3, "ci_high": -1.0 + 1.96 * 0.3}
"""A standard error of 0.3 points."""


def row(seeds: int, error: float, quantile: float) -> dict[str, float]:
    """Of a mean gap of -2 points over the seeds, with this standard error."""
    low, high = -2.0 - quantile * error, -2.0 + quantile * error
    return {**IMAGES, "seed_count": seeds, "seeds_gap_points": -2.0, "seeds_ci_low": low, "seeds_ci_high": high}


def test_gap_over_seeds_includes_the_choice_of_the_images() -> None:
    gap = contrast_gap(row(5, 0.4, 2.7764), 0.95)
    reach = math.hypot(0.4 * 2.7764, 0.3 * 1.96)
    assert (gap.points, gap.low, gap.high, gap.seeds) == pytest.approx((-2.0, -2 - reach, -2 + reach, 5), abs=1e-4)


def test_gap_of_equal_seeds_is_as_wide_as_over_the_images() -> None:
    gap = contrast_gap(row(3, 0.0, 4.3027), 0.95)
    assert (gap.low, gap.high) == pytest.approx((-2 - 1.96 * 0.3, -2 + 1.96 * 0.3), abs=1e-4)


@pytest.mark.parametrize("relation", ["falls short", "is ahead"])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_p_value_is_the_level_at_which_the_verdict_falls(relation: Relation, confidence: float) -> None:
    gap = contrast_gap(row(3, 0.4, 4.3027), 0.95)
    doubt = 1 - confidence
    reach = math.hypot(0.4 * t.isf(doubt / 2, 2), 0.3 * norm.isf(doubt / 2))
    margin = 2 - reach if relation == "falls short" else -2 + reach  # the interval at this confidence ends there
    assert p_value(gap, relation, margin) == pytest.approx(doubt, rel=1e-3)


def test_p_value_of_one_training_is_the_normal_one() -> None:
    gap = contrast_gap(row(1, 0.0, 1.0), 0.95)
    assert p_value(gap, "keeps up", 0.5) == pytest.approx(2 * norm.sf(0.5 / 0.3), rel=1e-3)
    assert p_value(gap, "keeps up", 1.0) == 1.0 and p_value(gap, "is ahead", 50.0) == 0.0


def test_gap_of_too_few_seeds_is_of_one_training() -> None:
    gap = contrast_gap(row(2, 0.4, 12.706), 0.95)
    assert (gap.points, gap.low, gap.high, gap.seeds) == (*IMAGES.values(), 1)


def test_gaps_to_fp32_take_the_seeds_from_the_methods() -> None:
    paired = pd.DataFrame(
        [{"config": name, "reference": to, **IMAGES} for name, to in (("a", "fp32"), ("b", "fp32"), ("b", "a"))]
    )
    nan = float("nan")
    methods = pd.DataFrame(
        {
            "config": ["b", "a"],
            "seed_count": [3, 1],
            "gap_points": [-5.0, -1.0],
            "ci_low": [-6, nan],
            "ci_high": [-4, nan],
        }
    )
    gaps = gaps_to_fp32(paired, methods, 0.95)
    assert {name: (gap.points, gap.seeds) for name, gap in gaps.items()} == {"a": (-1.0, 1), "b": (-5.0, 3)}
    assert gaps["b"].low < -6 and gaps["b"].high > -4
