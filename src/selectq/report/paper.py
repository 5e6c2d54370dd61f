"""The paper's own figures, and which of them belong beside a configuration."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectq.config.configurations import Experiment
from selectq.statistics.schemas import PAPER, rows_of

AUTHORS = "Katyan et al."
TABLE_2 = "Table 2"


@dataclass(frozen=True)
class PaperFigures:
    """What the paper prints for one experiment; None where it prints nothing.

    `gap_points` is the difference of the two accuracies; `printed_gap_points` is what Table 2 prints instead, where
    that is another number. `source` is the place of the accuracy.
    """

    method: str | None = None
    params_retrained_pct: float | None = None
    size_mb: float | None = None
    fp32_top1: float | None = None
    int8_top1: float | None = None
    gap_points: float | None = None
    printed_gap_points: float | None = None
    source: str | None = None


@dataclass(frozen=True)
class Paper:
    """The FP32 baseline, and the quantized experiments.

    The paper does not state how QAT scales the weights; its section 4.2 describes one scale per channel.
    """

    fp32: PaperFigures
    quantized: dict[Experiment, PaperFigures]

    def beside(self, experiment: Experiment) -> PaperFigures:
        """The figures of the same experiment, whatever its name; all None where the paper has none."""
        return self.quantized.get(experiment, PaperFigures())


def read_paper() -> Paper:
    """Read the figures; the row without a scope is the FP32 baseline."""
    baseline, *rows = rows_of(PAPER.read(Path(__file__).with_name("paper.csv")))
    fp32 = PaperFigures(
        method=baseline.method, size_mb=baseline.size_mb, fp32_top1=baseline.top1, source=baseline.source
    )
    return Paper(fp32, {_experiment(row): _figures(row, baseline.top1) for row in rows})


def figures_beside(data: str, network: str) -> Paper:
    """The paper's figures to stand beside results: none but of MobileNetV2 on CIFAR-10, which its own are of."""
    same = "cifar10" in data.replace("-", "").lower() and network == "mobilenet_v2"
    return read_paper() if same else Paper(PaperFigures(), {})


def _experiment(row: Any) -> Experiment:
    return Experiment(*(getattr(row, field.name) for field in dataclasses.fields(Experiment)))


def _figures(row: Any, fp32_top1: float) -> PaperFigures:
    gap, printed = round(row.top1 - fp32_top1, 2), row.printed_gap_points
    return PaperFigures(
        method=row.method,
        params_retrained_pct=row.params_retrained_pct,
        size_mb=_or_none(row.size_mb),
        fp32_top1=fp32_top1,
        int8_top1=row.top1,
        gap_points=gap,
        printed_gap_points=None if printed == gap else _or_none(printed),
        source=row.source,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
