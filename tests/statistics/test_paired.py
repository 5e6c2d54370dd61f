"""Paired comparisons against textbook values, hand calculations and the normal approximation."""

import math

import numpy as np
import pytest

from selectq.statistics.paired import Paired, compare, holm, mcnemar_p, score_interval

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
    interval = score_interval(LARGE, confidence)
    assert interval == pytest.approx((100 * (mean - reach), 100 * (mean + reach)), abs=0.005)


def test_interval_holds_the_true_gap_as_often_as_it_says() -> None:
    """Of 300 images, of which the networks differ on few: the share of the intervals that hold the true gap."""
    draws = np.random.default_rng(1).multinomial(300, [0.02, 0.03, 0.95], 2_000)
    intervals = [score_interval(Paired(300, int(more), int(less)), 0.9) for more, less, _ in draws]
    assert np.mean([low <= -1.0 <= high for low, high in intervals]) == pytest.approx(0.9, abs=0.025)


def test_no_difference_leaves_as_much_open_as_the_images_do() -> None:
    z2 = 1.959964**2
    low, high = score_interval(Paired(450, 0, 0), 0.95)
    assert (-low, high) == pytest.approx((100 * z2 / (450 + z2),) * 2, rel=1e-6)


def test_interval_turns_round_with_the_networks() -> None:
    low, high = score_interval(Paired(450, 2, 9), 0.95)
    assert score_interval(Paired(450, 9, 2), 0.95) == pytest.approx((-high, -low))
    assert low < -100 * 7 / 450 < high < 0


@pytest.mark.parametrize("pair", [Paired(10, 0, 0), Paired(10, 10, 0), Paired(10, 0, 10), Paired(3, 1, 2)])
def test_interval_of_extreme_counts(pair: Paired) -> None:
    low, high = score_interval(pair, 0.95)
    assert -100 <= low <= pair.gap_points <= high <= 100
    assert low < high


def test_holm_by_hand() -> None:
    """Ordered, the p values are multiplied by 4, 3, 2, 1; none falls below the one before it."""
    assert holm([0.03, 0.005, 0.04, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
