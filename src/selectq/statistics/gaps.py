"""Where a `Gap` is made, from the rows of a run's tables, and how sure one may be of it.

One training of each: the interval over the choice of the test images (a score interval). Three or more: over the
seeds (Student) and the choice of the images together: half its width is the root of the sum of both squares. That is
never narrower than either, and in simulations a little too wide (95 to 98 % for 95 %, three and five seeds).
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm, t

from selectq.statistics.paired import compare, score_interval
from selectq.statistics.predictions import REFERENCE, Right
from selectq.statistics.verdicts import Gap, Relation, bound_of

ENOUGH_SEEDS = 3
"""From so many trainings on, the interval is over them too."""

Row = Mapping[Any, Any]


def paired_gap(config: Right, reference: Right, confidence: float) -> Gap:
    """Of one training of each, by which of the same images each is right about."""
    pair = compare(config, reference)
    return Gap(pair.gap_points, *score_interval(pair, confidence), seeds=1)


def gaps_to_fp32(paired: pd.DataFrame, methods: pd.DataFrame, confidence: float) -> dict[str, Gap]:
    """Of every configuration: `paired` and `methods` as the compare stage writes them, intervals at `confidence`."""
    over_images = paired[paired["reference"] == REFERENCE].set_index("config").to_dict("index")
    over_seeds = methods.set_index("config").to_dict("index")
    return {str(name): _gap(row, over_seeds[name], "", confidence) for name, row in over_images.items()}


def contrast_gap(row: Row, confidence: float) -> Gap:
    """Of one row of the contrasts, as the compare stage writes them."""
    return _gap(row, row, "seeds_", confidence)


def _gap(images: Row, seeds: Row, prefix: str, confidence: float) -> Gap:
    """`prefix` is that of the columns of the interval over the seeds."""
    count, doubt = int(seeds["seed_count"]), 1 - confidence
    image_error = (images["ci_high"] - images["ci_low"]) / 2 / float(norm.isf(doubt / 2))
    if count < ENOUGH_SEEDS:
        return Gap(images["gap_points"], images["ci_low"], images["ci_high"], 1, image_error)
    reach = (seeds[f"{prefix}ci_high"] - seeds[f"{prefix}ci_low"]) / 2
    seed_error = reach / float(t.isf(doubt / 2, count - 1))
    points, reach = seeds[f"{prefix}gap_points"], _reach(doubt, image_error, seed_error, count)
    return Gap(points, points - reach, points + reach, count, image_error, seed_error)


def _reach(doubt: float, image_error: float, seed_error: float, seeds: int) -> float:
    """Half the width of the interval that misses the true gap with this probability."""
    of_seeds = float(t.isf(doubt / 2, seeds - 1)) * seed_error if seed_error else 0.0
    return math.hypot(float(norm.isf(doubt / 2)) * image_error, of_seeds)


def p_value(gap: Gap, relation: Relation, margin: float) -> float:
    """That of the verdict, two-sided: the interval that just reaches the bound misses the true gap so often."""
    distance = abs(gap.points - bound_of(relation, margin))

    def beyond(logarithm: float) -> float:
        return _reach(math.exp(logarithm), gap.image_error, gap.seed_error, gap.seeds) - distance

    least = math.log(1e-300)
    return math.exp(brentq(beyond, least, 0.0)) if distance and beyond(least) > 0 else float(not distance)
