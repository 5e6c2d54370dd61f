"""Paired comparisons against textbook values, hand calculations and the normal approximation."""

import math

import numpy as np
import pytest

from selectq.statistics.paired import Paired, bootstrap_interval, compare, holm, mcnemar_p

LARGE = Paired(images=40_000, only_config_right=1_800, only_reference_right=1_500)


def test_pairs_are_counted_image_by_image() -> None:
    config = np.array([True, True, True, False, False, True])
    reference = np.array([True, False, False, False, True, True])
    assert compare(config, reference) == Paired(images=6, only_config_right=2, only_reference_right=1)
    assert compare(config, reference).gap_points == pytest.approx(100 * (4 / 6 - 3 / 6))


@pytest.mark.parametrize(
    ("only_config", "only_reference", "p"),
    [
        (86, 150, 3.716e-05),  # Agresti, Categorical Data Analysis (2002), table 10.1: approval of a prime minister
        (1, 9, 22 / 1024),  # 2 (1 + 10) / 2^10
        (9, 1, 22 / 1024),
        (3, 9, 2 * (1 + 12 + 66 + 220) / 4096),
        (5, 5, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_exact_and_two_sided(only_config: int, only_reference: int, p: float) -> None:
    assert mcnemar_p(Paired(2_000, only_config, only_reference)) == pytest.approx(p, rel=2e-4)


def test_images_on_which_both_agree_do_not_change_p() -> None:
    assert mcnemar_p(Paired(20, 3, 9)) == mcnemar_p(Paired(20_000, 3, 9))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_is_the_normal_one_for_large_counts(confidence: float) -> None:
    """The variance of a difference of 1, -1 or 0 is the share that differs less the squared mean."""
    mean, differing = 300 / 40_000, 3_300 / 40_000
    error = math.sqrt((differing - mean**2) / 40_000)
    reach = {0.8: 1.2816, 0.95: 1.9600}[confidence] * error
    interval = bootstrap_interval(LARGE, confidence, resamples=100_000, seed=3)
    assert interval == pytest.approx((100 * (mean - reach), 100 * (mean + reach)), abs=0.005)


def test_interval_is_of_the_images_drawn_one_by_one() -> None:
    """The multinomial counts stand for draws of single images."""
    pair = Paired(images=60, only_config_right=12, only_reference_right=5)
    differences = np.repeat([1, -1, 0], [12, 5, 43])
    draws = np.random.default_rng(1).choice(differences, (20_000, 60)).mean(axis=1)
    expected = 100 * np.quantile(draws, [0.05, 0.95])
    assert bootstrap_interval(pair, 0.9, 20_000, seed=2) == pytest.approx(expected, abs=0.6)


def test_same_seed_same_interval() -> None:
    first, again, other = (bootstrap_interval(LARGE, 0.95, 1_000, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("pair", [Paired(10, 0, 0), Paired(10, 10, 0), Paired(3, 1, 2)])
def test_interval_of_extreme_counts(pair: Paired) -> None:
    low, high = bootstrap_interval(pair, 0.95, 1_000, seed=0)
    assert -100 <= low <= pair.gap_points <= high <= 100


def test_holm_by_hand() -> None:
    """Ordered, the p values are multiplied by 4, 3, 2, 1; none falls below the one before it."""
    assert holm([0.03, 0.005, 0.04, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
