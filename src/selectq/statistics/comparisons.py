"""Every comparison of a run as rows: configurations against FP32 and against full retraining, and over seeds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from selectq.params.configs import StatisticsConfig
from selectq.statistics.answers import REFERENCE, Answers, Right
from selectq.statistics.paired import bootstrap_interval, compare, holm, is_non_inferior, mcnemar_p
from selectq.statistics.rows import METHOD_COLUMNS, PAIRED_COLUMNS, SEED_COLUMNS
from selectq.statistics.seeds import mean_interval
from selectq.tables.configurations import Configuration


def paired_table(
    own: Mapping[str, Right], configurations: Sequence[Configuration], settings: StatisticsConfig, seed: int
) -> pd.DataFrame:
    """Each configuration against FP32, then each retrained one against its full retraining, where there is one.

    Args:
        own: which test images each network gets right, by name, the FP32 network's among them.
        configurations: in the order of the rows.
        settings: of the intervals, and the margin.
        seed: of the bootstrap.

    Returns:
        Columns as PAIRED_COLUMNS; `holm_p` is over all rows with the same reference.
    """
    against_full = [(one.name, full.name) for one in configurations if (full := find_full(one, configurations))]
    pairs = [*((one.name, REFERENCE) for one in configurations), *against_full]
    rows = []
    for name, reference in pairs:
        pair = compare(own[name], own[reference])
        low, high = bootstrap_interval(pair, settings.confidence, settings.resamples, seed)
        rows.append(
            {
                "config": name,
                "reference": reference,
                "images": pair.images,
                "gap_points": pair.gap_points,
                "ci_low": low,
                "ci_high": high,
                "only_config_right": pair.only_config_right,
                "only_reference_right": pair.only_reference_right,
                "mcnemar_p": mcnemar_p(pair),
                "non_inferior": is_non_inferior(low, settings.margin_points),
            }
        )
    table = pd.DataFrame(rows)
    table["holm_p"] = table.groupby("reference")["mcnemar_p"].transform(lambda family: holm(family.to_list()))
    return table[list(PAIRED_COLUMNS)]


def find_full(configuration: Configuration, configurations: Sequence[Configuration]) -> Configuration | None:
    """The full retraining, scope `all`, that a selective one with the same bit widths is compared with.

    Of several, the one whose scheme has most in common with the configuration's; of equals, the first.
    """
    if configuration.method != "qat" or configuration.experiment.scope == "all":
        return None
    candidates = [one for one in configurations if one.experiment.scope == "all" and _bits(one) == _bits(configuration)]
    return max(candidates, key=lambda one: _in_common(one, configuration), default=None)


def _bits(configuration: Configuration) -> tuple[int, int]:
    return configuration.experiment.weight_bits, configuration.experiment.activation_bits


def _in_common(one: Configuration, other: Configuration) -> int:
    a, b = one.experiment, other.experiment
    return (a.weight_granularity == b.weight_granularity) + (a.activation_scheme == b.activation_scheme)


def seed_table(answers: Answers, seed: int) -> pd.DataFrame:
    """Every training of the configurations that are trained repeatedly; `seed` is the pipeline's own.

    Returns:
        Columns as SEED_COLUMNS: accuracy in percent, and its gap to the one FP32 network, in points.
    """
    rows = [row for name in answers.repeated for row in _seed_rows(answers, name, seed)]
    return pd.DataFrame(rows, columns=list(SEED_COLUMNS))


def _seed_rows(answers: Answers, name: str, seed: int) -> Iterator[tuple[str, int, float, float]]:
    fp32 = answers.own[REFERENCE]
    for of_seed, right in {seed: answers.own[name], **answers.repeated.get(name, {})}.items():
        yield name, of_seed, 100 * float(np.mean(right)), compare(right, fp32).gap_points


def method_table(answers: Answers, names: Sequence[str], seed: int, confidence: float) -> pd.DataFrame:
    """Each configuration over its seeds: mean accuracy and gap, and Student's interval of the gap, none for one seed.

    All trainings start from one FP32 network, and are tested on the same images: the interval is for the choice of the
    retraining's seed alone.

    Returns:
        Columns as METHOD_COLUMNS.
    """
    rows = []
    for name in names:
        trainings = list(_seed_rows(answers, name, seed))
        top1s, gaps = [row[2] for row in trainings], [row[3] for row in trainings]
        interval = mean_interval(gaps, confidence) or (None, None)
        rows.append((name, len(trainings), float(np.mean(top1s)), float(np.mean(gaps)), *interval))
    return pd.DataFrame(rows, columns=list(METHOD_COLUMNS)).astype({"ci_low": float, "ci_high": float})
