"""Confidence intervals."""

from scipy.stats import binomtest

CONFIDENCE = 0.95


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """Wilson's score interval at `CONFIDENCE` for a share, as shares in [0, 1]; `images` is at least 1."""
    limits = binomtest(correct, images).proportion_ci(CONFIDENCE, method="wilson")
    return limits.low, limits.high


def write_interval(correct: int, images: int) -> str:
    """The same in percent, as `93.10 to 95.20`."""
    return " to ".join(f"{100 * limit:.2f}" for limit in wilson_interval(correct, images))
