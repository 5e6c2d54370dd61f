"""Two networks on the same images: how far apart they are, and whether chance alone would do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


@dataclass(frozen=True)
class Paired:
    """How many of `images` (1 or more) only one of two networks, a configuration and its reference, gets right."""

    images: int
    only_config_right: int
    only_reference_right: int

    @property
    def gap_points(self) -> float:
        """Accuracy of the configuration minus that of the reference, in points: negative is a loss."""
        return 100 * (self.only_config_right - self.only_reference_right) / self.images


def compare(config_right: NDArray[np.bool_], reference_right: NDArray[np.bool_]) -> Paired:
    """Whether each network is right about each image, both (N,) in the order of the images."""
    return Paired(
        images=len(config_right),
        only_config_right=int((config_right & ~reference_right).sum()),
        only_reference_right=int((reference_right & ~config_right).sum()),
    )


def mcnemar_p(pair: Paired) -> float:
    """The exact two-sided p value, in [0, 1], that the two networks are right equally often (McNemar 1947).

    Images about which both are right, or both wrong, say nothing: of the others, each network has half but for chance.
    """
    differing = pair.only_config_right + pair.only_reference_right
    return float(binomtest(pair.only_config_right, differing, 0.5).pvalue) if differing else 1.0


def bootstrap_interval(pair: Paired, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """The percentile interval of the gap, in points, over other draws of as many images (Efron 1979).

    An image's difference is 1, -1 or 0. A draw of N images with replacement is therefore a draw of the three counts
    from a multinomial distribution with the observed shares: nothing but the counts is needed. The interval depends on
    the pair and the seed alone, not on what else is compared.

    Args:
        pair: the counts.
        confidence: of the interval, in (0, 1).
        resamples: how many draws.
        seed: of the draws.
    """
    equal = pair.images - pair.only_config_right - pair.only_reference_right
    shares = np.array([pair.only_config_right, pair.only_reference_right, equal]) / pair.images
    counts = np.random.default_rng(seed).multinomial(pair.images, shares, resamples)  # (resamples, 3)
    gaps = 100 * (counts[:, 0] - counts[:, 1]) / pair.images
    low, high = np.quantile(gaps, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of comparisons, in the same order, corrected for their number (Holm 1979).

    Rejecting those below a level keeps the chance of even one false rejection below it.
    """
    given = np.asarray(p_values, dtype=float)
    order = np.argsort(given)
    corrected = np.empty_like(given)
    corrected[order] = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)).clip(max=1)
    return corrected.tolist()
