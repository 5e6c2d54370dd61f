"""The paper's Tables 1 and 2 for a run, each row beside the paper's own figures, and the summary of its metrics."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from selectq.params.configurations import Configuration
from selectq.tables.evidence import Evidence
from selectq.tables.paper import Paper, PaperFigures

DIGITS = 4
"""Decimals kept of percentages: one image of a million still shows."""


@dataclass(frozen=True)
class Table1Row:
    """What one configuration retrains, and its quantization scheme."""

    config: str
    method: str
    scope: str
    params_retrained: int
    params_retrained_pct: float
    weight_bits: str
    weight_granularity: str
    activation_bits: str
    activation_scheme: str
    epochs: int
    paper_method: str | None
    paper_params_retrained_pct: float | None


@dataclass(frozen=True)
class Table2Row:
    """What one configuration achieves. Accuracies and shares in percent, gaps in points, sizes in 10^6 bytes.

    `ci_low` to `ci_high` is the paired interval of the gap, `mcnemar_p` its p value, `holm_p` the same corrected for
    the number of configurations. All are of one network; `seed_count` says how often its configuration was trained.

    In the row of the FP32 network, scope, share, INT8 accuracy, gap and what belongs to it are None: `int8_top1` is
    measured on integer programs alone. It is `simulated` where a scheme has fewer than 8 bits: the program then holds
    its integer codes in 8 bits.
    """

    config: str
    regime: str
    scope: str | None
    params_retrained_pct: float | None
    size_mb: float
    seed_count: int
    fp32_top1: float
    int8_top1: float | None
    gap_points: float | None
    ci_low: float | None
    ci_high: float | None
    mcnemar_p: float | None
    holm_p: float | None
    standard_error_points: float
    simulated: bool
    paper: PaperFigures


def table1(configurations: Iterable[Configuration], evidence: Evidence, paper: Paper) -> list[Table1Row]:
    """One row for each configuration, in their order."""
    return [_table1_row(configuration, evidence, paper) for configuration in configurations]


def _table1_row(configuration: Configuration, evidence: Evidence, paper: Paper) -> Table1Row:
    figures = paper.beside(configuration.experiment)
    return Table1Row(
        config=configuration.name,
        method=configuration.method,
        params_retrained=evidence.simulated[configuration.name].params_retrained,
        params_retrained_pct=retrained_pct(evidence, configuration.name),
        **dataclasses.asdict(configuration.experiment),
        epochs=configuration.epochs,
        paper_method=figures.method,
        paper_params_retrained_pct=figures.params_retrained_pct,
    )


def table2(configurations: Iterable[Configuration], evidence: Evidence, paper: Paper, regime: str) -> list[Table2Row]:
    """The FP32 row, then one row for each configuration, in their order; `regime` names the run's conditions."""
    return [
        _fp32_row(evidence, paper, regime),
        *(_table2_row(configuration, evidence, paper, regime) for configuration in configurations),
    ]


def _fp32_row(evidence: Evidence, paper: Paper, regime: str) -> Table2Row:
    fp32 = evidence.fp32
    return Table2Row(
        config="fp32",
        regime=regime,
        scope=None,
        params_retrained_pct=None,
        size_mb=megabytes(fp32.size_bytes),
        seed_count=1,
        fp32_top1=fp32.test_top1,
        int8_top1=None,
        gap_points=None,
        ci_low=None,
        ci_high=None,
        mcnemar_p=None,
        holm_p=None,
        standard_error_points=standard_error(fp32.test_top1, fp32.test_images),
        simulated=False,
        paper=paper.fp32,
    )


def _table2_row(configuration: Configuration, evidence: Evidence, paper: Paper, regime: str) -> Table2Row:
    name = configuration.name
    fp32, int8, paired, methods = evidence.fp32, evidence.int8[name], evidence.paired, evidence.methods
    against_fp32 = paired[(paired["config"] == name) & (paired["reference"] == "fp32")].iloc[0]
    return Table2Row(
        config=name,
        regime=regime,
        scope=configuration.experiment.scope,
        params_retrained_pct=retrained_pct(evidence, name),
        size_mb=megabytes(int8.size_bytes),
        seed_count=int(methods.loc[methods["config"] == name, "seed_count"].iloc[0]),
        fp32_top1=fp32.test_top1,
        int8_top1=int8.test_top1,
        gap_points=gap_points(evidence, name),
        ci_low=float(against_fp32["ci_low"]),
        ci_high=float(against_fp32["ci_high"]),
        mcnemar_p=float(against_fp32["mcnemar_p"]),
        holm_p=float(against_fp32["holm_p"]),
        standard_error_points=standard_error(int8.test_top1, int8.test_images),
        simulated=not int8.integer_arithmetic,
        paper=paper.beside(configuration.experiment),
    )


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


def megabytes(size_bytes: int) -> float:
    """Bytes in units of 10^6 bytes."""
    return round(size_bytes / 1e6, 3)


def to_frame(rows: Sequence[Table1Row] | Sequence[Table2Row]) -> pd.DataFrame:
    """Rows as a data frame with their fields as columns, the paper's under `paper_`; None is an empty cell in CSV."""
    return pd.json_normalize([dataclasses.asdict(row) for row in rows], sep="_")


def summary(configurations: Iterable[Configuration], evidence: Evidence) -> dict[str, Any]:
    """The metrics to compare between revisions, nested under stable keys."""
    fp32 = evidence.fp32
    return {
        "fp32": {
            "test_top1": fp32.test_top1,
            "validation_top1": fp32.validation_top1,
            "size_mb": megabytes(fp32.size_bytes),
        },
        "int8": {configuration.name: _summary_entry(configuration.name, evidence) for configuration in configurations},
    }


def _summary_entry(name: str, evidence: Evidence) -> dict[str, float]:
    return {
        "top1": evidence.int8[name].test_top1,
        "gap_points": gap_points(evidence, name),
        "size_mb": megabytes(evidence.int8[name].size_bytes),
        "validation_top1": evidence.simulated[name].validation_top1,
        "flipped_pct": evidence.parity[name].flipped_pct,
        "float_operators": evidence.int8[name].float_operators,
    }
