"""Confidence intervals against their formulas."""

import pytest

from selectq.intervals import wilson_interval


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (8162, 10_000, 0.8085, 0.8237)],
)
def test_interval_is_wilsons(correct: int, images: int, low: float, high: float) -> None:
    """Limits by his formula (1927), worked out by hand."""
    assert wilson_interval(correct, images) == pytest.approx((low, high), abs=1e-4)
