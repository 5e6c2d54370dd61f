"""The paper's figures as data: what it prints, and its gaps recomputed."""

import dataclasses
from typing import Any

import pytest

from selectq.config.configurations import Experiment
from selectq.report.paper import PaperFigures, read_paper

PTQ_TENSOR = Experiment("none", "8", "tensor", "8", "asymmetric")
PTQ_CHANNEL = Experiment("none", "8", "channel", "8", "asymmetric")
FULL = Experiment("all", "8", "channel", "8", "symmetric")
CLASSIFIER = Experiment("classifier", "8", "channel", "8", "symmetric")
DEPTHWISE = Experiment("depthwise + classifier", "8", "channel", "8", "symmetric")
BOTH = Experiment("depthwise + projection + classifier", "8", "channel", "8", "symmetric")
BOTH_ASYMMETRIC = dataclasses.replace(BOTH, activation_scheme="asymmetric")


def test_baseline() -> None:
    fp32 = read_paper().fp32
    assert (fp32.fp32_top1, fp32.size_mb, fp32.int8_top1, fp32.gap_points) == (95.49, 9.18, None, None)


@pytest.mark.parametrize(
    ("experiment", "share", "top1", "gap"),
    [
        (PTQ_CHANNEL, 0, 67.87, -27.62),
        (FULL, 100, 92.98, -2.51),
        (CLASSIFIER, 0.6, 87.67, -7.82),
        (DEPTHWISE, 3.4, 90.63, -4.86),
        (BOTH, 46.5, 92.29, -3.20),
        (BOTH_ASYMMETRIC, 46.5, 93.25, -2.24),
    ],
)
def test_rows_of_its_table_2(experiment: Experiment, share: float, top1: float, gap: float) -> None:
    figures = read_paper().beside(experiment)
    assert (figures.params_retrained_pct, figures.int8_top1, figures.gap_points) == (share, top1, gap)
    assert (figures.size_mb, figures.source) == (2.64, "Table 2")


def test_per_tensor_stands_in_its_text_alone() -> None:
    figures = read_paper().beside(PTQ_TENSOR)
    assert (figures.int8_top1, figures.gap_points, figures.source) == (44.18, -51.31, "section 4.1")
    assert (figures.size_mb, figures.printed_gap_points) == (None, None)


def test_printed_gap_is_kept_where_it_is_another_number() -> None:
    paper = read_paper()
    printed = {each: figures.printed_gap_points for each, figures in paper.quantized.items()}
    assert {each: gap for each, gap in printed.items() if gap is not None} == {BOTH: -2.82, BOTH_ASYMMETRIC: -2.46}


@pytest.mark.parametrize(
    "change", [{"scope": "stem"}, {"weight_bits": "4"}, {"weight_granularity": "tensor"}, {"activation_bits": "4"}]
)
def test_another_experiment_has_no_figures(change: dict[str, Any]) -> None:
    assert read_paper().beside(dataclasses.replace(FULL, **change)) == PaperFigures()
