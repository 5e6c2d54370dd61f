"""Intervals over seeds, by hand."""

import pytest

from selectq.statistics.seeds import mean_interval


def test_interval_is_students() -> None:
    """Five values of mean 81 and standard deviation 1: t of 4 degrees of freedom is 2.776 at 95 %."""
    values = [80.0, 80.0, 81.0, 82.0, 82.0]
    reach = 2.776 * 1.0 / 5**0.5
    assert mean_interval(values, 0.95) == pytest.approx((81 - reach, 81 + reach), abs=1e-3)


def test_interval_of_two_seeds_is_wide() -> None:
    assert mean_interval([-1.0, 1.0], 0.95) == pytest.approx((-12.706, 12.706), abs=1e-3)


def test_equal_values_have_no_spread() -> None:
    assert mean_interval([70.0, 70.0, 70.0], 0.95) == (70.0, 70.0)


def test_one_seed_has_no_interval() -> None:
    assert mean_interval([80.0], 0.95) is None
