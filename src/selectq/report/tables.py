"""The paper's Tables 1 and 2 for a run, each row beside the paper's own figures, and the summary of its metrics."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from selectq.config.configurations import Configuration
from selectq.report.evidence import Evidence
from selectq.report.paper import Paper, PaperFigures
from selectq.statistics.schemas import OSCILLATION_BY_KIND, TABLE1, TABLE2

DIGITS = 4
"""Decimals kept of percentages: one image of a million still shows."""


def table1(configurations: Iterable[Configuration], evidence: Evidence, paper: Paper) -> pd.DataFrame:
    """What each configuration retrains, and its quantization scheme: columns as TABLE1."""
    return TABLE1.frame(
        {
            "config": configuration.name,
            "method": configuration.method,
            "params_retrained": evidence.simulated[configuration.name].params_retrained,
            "params_retrained_pct": retrained_pct(evidence, configuration.name),
            **dataclasses.asdict(configuration.experiment),
            "epochs": configuration.epochs,
            **_beside(paper.beside(configuration.experiment)),
        }
        for configuration in configurations
    )


def table2(configurations: Iterable[Configuration], evidence: Evidence, paper: Paper, setting: str) -> pd.DataFrame:
    """What each configuration achieves: columns as TABLE2, the FP32 network's row, then the configurations in order.

    `setting` names the run's conditions. In the row of the FP32 network, scope, share, INT8 accuracy, gap and what
    belongs to it are empty: `int8_top1` is measured on integer programs alone.
    """
    fp32 = evidence.fp32
    first = {
        "config": "fp32",
        "setting": setting,
        "size_mb": in_mb(fp32.size_bytes),
        "seed_count": 1,
        "fp32_top1": fp32.test_top1,
        "standard_error_points": standard_error(fp32.test_top1, fp32.test_images),
        "simulated": False,
        **_beside(paper.fp32),
    }
    against = evidence.paired[evidence.paired["reference"] == "fp32"].set_index("config")
    seeds = evidence.methods.set_index("config")["seed_count"]
    others = (
        {
            "config": one.name,
            "setting": setting,
            "scope": one.experiment.scope,
            "params_retrained_pct": retrained_pct(evidence, one.name),
            "size_mb": in_mb(evidence.int8[one.name].size_bytes),
            "seed_count": seeds[one.name],
            "fp32_top1": fp32.test_top1,
            "int8_top1": evidence.int8[one.name].test_top1,
            "gap_points": gap_points(evidence, one.name),
            **against.loc[one.name, ["ci_low", "ci_high", "mcnemar_p", "holm_p"]],
            "standard_error_points": standard_error(evidence.int8[one.name].test_top1, fp32.test_images),
            "simulated": not evidence.int8[one.name].integer_arithmetic,
            **_beside(paper.beside(one.experiment)),
        }
        for one in configurations
    )
    return TABLE2.frame([first, *others])


def _beside(figures: PaperFigures) -> dict[str, Any]:
    return {f"paper_{name}": value for name, value in dataclasses.asdict(figures).items()}


def retrained_pct(evidence: Evidence, name: str) -> float:
    """The share of the FP32 network's parameters that a configuration lets learn, before batch-norm folding."""
    metrics = evidence.simulated[name]
    return round(100 * metrics.params_retrained / metrics.parameters, DIGITS)


def gap_points(evidence: Evidence, name: str) -> float:
    """INT8 accuracy minus FP32 accuracy, both on the test images, in points: negative is a loss."""
    return round(evidence.int8[name].test_top1 - evidence.fp32.test_top1, DIGITS)


def standard_error(top1: float, images: int) -> float:
    """The standard error, in points, of an accuracy of `top1` percent on that many images."""
    share = top1 / 100
    return round(100 * math.sqrt(share * (1 - share) / images), DIGITS)


def in_mb(size_bytes: int) -> float:
    """Bytes in units of 10^6 bytes."""
    return round(size_bytes / 1e6, 3)


def accuracy_points(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each INT8 program of Table 2, to be plotted, with the FP32 accuracy beside it."""
    shown = ["config", "params_retrained_pct", "int8_top1", "fp32_top1", "standard_error_points"]
    return table[shown].dropna(subset="int8_top1")


ALL = "all"
"""Stands for the kinds taken together."""


def oscillation_by_kind(oscillation: pd.DataFrame) -> pd.DataFrame:
    """Counts by layer, as the training stages write them, added up: columns as OSCILLATION_BY_KIND.

    `weights` is how many learn; `flipped_pct` and `oscillating_pct` are the percentages of these whose integer code
    changed, and changed back.
    """
    shares = ["flipped_pct", "oscillating_pct"]
    layers = oscillation.assign(**{share: oscillation[share] * oscillation["weights"] for share in shares})
    together = pd.concat([layers, layers.assign(layer_kind=ALL)])
    sums = together.groupby(["config", "layer_kind"], sort=False, as_index=False)[["weights", *shares]].sum()
    return sums.assign(**{share: sums[share] / sums["weights"] for share in shares})[list(OSCILLATION_BY_KIND.columns)]


def summary(configurations: Iterable[Configuration], evidence: Evidence) -> dict[str, Any]:
    """The metrics to compare between revisions, nested under stable keys."""
    fp32 = evidence.fp32
    return {
        "fp32": {
            "test_top1": fp32.test_top1,
            "validation_top1": fp32.validation_top1,
            "size_mb": in_mb(fp32.size_bytes),
        },
        "int8": {configuration.name: _summary_entry(configuration.name, evidence) for configuration in configurations},
    }


def _summary_entry(name: str, evidence: Evidence) -> dict[str, float]:
    return {
        "top1": evidence.int8[name].test_top1,
        "gap_points": gap_points(evidence, name),
        "size_mb": in_mb(evidence.int8[name].size_bytes),
        "validation_top1": evidence.simulated[name].validation_top1,
        "flipped_pct": evidence.parity[name].flipped_pct,
        "float_operators": evidence.int8[name].float_operators,
    }
