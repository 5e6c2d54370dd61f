"""Two networks on the same images: how far apart they are, and whether chance alone would do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm


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


def score_interval(pair: Paired, confidence: float) -> tuple[float, float]:
    """The interval of the gap, in points, over other choices of as many images (Tango 1998, its score test inverted).

    Unlike a bootstrap it is honest where the networks differ on few images or on none: no difference on 450 images
    leaves 0.85 points open either way.
    """
    bound = float(norm.isf((1 - confidence) / 2))
    gap = pair.gap_points / 100

    def beyond(difference: float) -> float:
        return abs(_score(pair, difference)) - bound

    low = brentq(beyond, -_LARGEST, gap) if gap > -_LARGEST and beyond(-_LARGEST) > 0 else -1.0
    high = brentq(beyond, gap, _LARGEST) if gap < _LARGEST and beyond(_LARGEST) > 0 else 1.0
    return 100 * low, 100 * high


_LARGEST = 1 - 1e-9
"""The largest difference of two shares for which the score is finite."""


def _score(pair: Paired, difference: float) -> float:
    """How many standard errors the counts are from those of this difference of the two shares (Tango 1998, eq. 9)."""
    images, more, less = pair.images, pair.only_config_right, pair.only_reference_right
    linear = (2 * images - more + less) * difference - more - less
    constant = -less * difference * (1 - difference)
    share = (math.sqrt(linear**2 - 8 * images * constant) - linear) / (4 * images)  # of less, at this difference
    variance = images * (2 * share + difference * (1 - difference))
    distance = more - less - images * difference
    return distance / math.sqrt(variance) if distance else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of comparisons, in the same order, corrected for their number (Holm 1979).

    Rejecting those below a level keeps the chance of even one false rejection below it.
    """
    given = np.asarray(p_values, dtype=float)
    order = np.argsort(given)
    corrected = np.empty_like(given)
    corrected[order] = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)).clip(max=1)
    return corrected.tolist()
