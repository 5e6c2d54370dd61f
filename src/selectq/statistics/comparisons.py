"""Every comparison of a run as rows: configurations against FP32 and against full retraining, and over seeds."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from selectq.config.configs import StatisticsConfig
from selectq.config.configurations import Configuration
from selectq.statistics.paired import compare, holm, mcnemar_p, score_interval
from selectq.statistics.predictions import REFERENCE, Predictions, Right
from selectq.statistics.schemas import CONTRASTS, METHODS, PAIRED, SEEDS
from selectq.statistics.seeds import mean_interval
from selectq.statistics.verdicts import Gap, judge


def paired_table(
    own: Mapping[str, Right], configurations: Sequence[Configuration], settings: StatisticsConfig
) -> pd.DataFrame:
    """Each configuration against FP32, then each retrained one against its full retraining, where there is one.

    Args:
        own: which test images each network gets right, by name, the FP32 network's among them.
        configurations: in the order of the rows.
        settings: of the intervals, and the margin.

    Returns:
        Columns as PAIRED; `holm_p` is over all rows with the same reference.
    """
    against_full = [(one.name, full.name) for one in configurations if (full := find_full(one, configurations))]
    pairs = [*((one.name, REFERENCE) for one in configurations), *against_full]
    table = pd.DataFrame([_paired_row(own, *pair, settings) for pair in pairs])
    table["holm_p"] = table.groupby("reference")["mcnemar_p"].transform(lambda family: holm(family.to_list()))
    return table[list(PAIRED.columns)]


def contrast_table(predictions: Predictions, trained: Collection[str], settings: StatisticsConfig) -> pd.DataFrame:
    """The differences that the study asks for, over the test images and, where there are several, over the seeds.

    Over the seeds, two trainings from the same one are a pair; what is not among the `trained` is the same for every
    seed.

    Returns:
        Columns as CONTRASTS; `holm_p` is over all rows.
    """
    rows = []
    for name, reference in settings.pairs:
        gaps = [compare(one, other).gap_points for one, other in _by_seed(predictions, trained, (name, reference))]
        low, high = mean_interval(gaps, settings.confidence) or (None, None)
        over_seeds = {"seed_count": len(gaps), "seeds_gap_points": float(np.mean(gaps))}
        row = _paired_row(predictions.own, name, reference, settings)
        rows.append({**row, **over_seeds, "seeds_ci_low": low, "seeds_ci_high": high})
    corrected = holm([row["mcnemar_p"] for row in rows])
    return CONTRASTS.frame({**row, "holm_p": value} for row, value in zip(rows, corrected, strict=True))


def _by_seed(
    predictions: Predictions, trained: Collection[str], pair: tuple[str, str]
) -> Iterator[tuple[Right, Right]]:
    """A pair of networks from the pipeline's own seed, then from every further one that each trained of them has."""
    name, reference = pair
    yield predictions.own[name], predictions.own[reference]
    learned = {each: predictions.repeated.get(each, {}) for each in pair if each in trained}
    for seed in next(iter(learned.values()), {}):
        if all(seed in further for further in learned.values()):
            own = predictions.own | {each: further[seed] for each, further in learned.items()}
            yield own[name], own[reference]


def _paired_row(own: Mapping[str, Right], name: str, reference: str, settings: StatisticsConfig) -> dict[str, Any]:
    pair = compare(own[name], own[reference])
    low, high = score_interval(pair, settings.confidence)
    return {
        "config": name,
        "reference": reference,
        "images": pair.images,
        "gap_points": pair.gap_points,
        "ci_low": low,
        "ci_high": high,
        "only_config_right": pair.only_config_right,
        "only_reference_right": pair.only_reference_right,
        "mcnemar_p": mcnemar_p(pair),
        "non_inferior": judge(Gap(pair.gap_points, low, high, 1), "keeps up", settings.margin_points) == "holds",
    }


def find_full(configuration: Configuration, configurations: Sequence[Configuration]) -> Configuration | None:
    """The full retraining, scope `all`, that a selective one with the same bit widths is compared with.

    Of several, the one whose scheme has most in common with the configuration's; of equals, the first.
    """
    if not configuration.scope or "all" in configuration.scope:
        return None
    candidates = [one for one in configurations if "all" in one.scope and _bits(one) == _bits(configuration)]
    return max(candidates, key=lambda one: _in_common(one, configuration), default=None)


def _bits(configuration: Configuration) -> tuple[str, str]:
    return configuration.experiment.weight_bits, configuration.experiment.activation_bits


def _in_common(one: Configuration, other: Configuration) -> int:
    a, b = one.experiment, other.experiment
    return (a.weight_granularity == b.weight_granularity) + (a.activation_scheme == b.activation_scheme)


def seed_table(predictions: Predictions, seed: int) -> pd.DataFrame:
    """Every training of the configurations that are trained repeatedly; `seed` is the pipeline's own.

    Returns:
        Columns as SEEDS: accuracy in percent, and its gap to the one FP32 network, in points.
    """
    return SEEDS.frame(row for name in predictions.repeated for row in _seed_rows(predictions, name, seed))


def _seed_rows(predictions: Predictions, name: str, seed: int) -> Iterator[tuple[str, int, float, float]]:
    fp32 = predictions.own[REFERENCE]
    for of_seed, right in {seed: predictions.own[name], **predictions.repeated.get(name, {})}.items():
        yield name, of_seed, 100 * float(np.mean(right)), compare(right, fp32).gap_points


def method_table(predictions: Predictions, names: Sequence[str], seed: int, confidence: float) -> pd.DataFrame:
    """Each configuration over its seeds: mean accuracy and gap, and Student's interval of the gap, none for one seed.

    All trainings start from one FP32 network, and are tested on the same images: the interval is for the choice of the
    retraining's seed alone.

    Returns:
        Columns as METHODS.
    """
    rows = []
    for name in names:
        trainings = list(_seed_rows(predictions, name, seed))
        top1s, gaps = [row[2] for row in trainings], [row[3] for row in trainings]
        interval = mean_interval(gaps, confidence) or (None, None)
        rows.append((name, len(trainings), float(np.mean(top1s)), float(np.mean(gaps)), *interval))
    return METHODS.frame(rows)
