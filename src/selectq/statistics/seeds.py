"""Several trainings of one configuration: the seed is the unit, the interval the method's and not one network's."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Student's interval at `confidence` of the mean of one value for each seed, in their unit; None for one seed."""
    if len(values) < 2:
        return None
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    reach = float(t.ppf((1 + confidence) / 2, len(values) - 1) * spread)
    mean = float(np.mean(values))
    return mean - reach, mean + reach
