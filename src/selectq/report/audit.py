"""The audit as a table: what each flaw costs per tensor and per channel, and how near that is to the paper."""

import math
from typing import Any

import pandas as pd

from selectq.report.formatting import NOTHING, Column, Table, percent
from selectq.report.paper import AUTHORS, TABLE_2, Paper, PaperFigures
from selectq.statistics.schemas import AUDIT_LOSSES, rows_of

GRANULARITIES = ("tensor", "channel")
NONE = "none"
"""The flaw's name in the rows of the sound experiment."""

PAPER_CLASSES = 10
"""The paper's are those of CIFAR-10."""

WORST_DRIFT = 99.0
"""What a reader cannot tell from more."""


def compare_with_paper(measured: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """One row for each flaw and setting, the nearest to the paper's pair of post-training accuracies first.

    Drops are from the sound network's float accuracy, in points: a study measures it before it makes a mistake. A drop
    of the same points is more for a network that has less to lose, so what is compared is the share that is lost, in
    percent, of what the float network has above chance. The distance is that of the two shares, per tensor and per
    channel, from the paper's two, in points.

    Args:
        measured: columns as AUDIT.
        paper: with its post-training accuracies.

    Returns:
        Columns as AUDIT_LOSSES.
    """
    sound = measured.loc[measured["flaw"] == NONE, "float_top1"].iloc[0]
    reachable = sound - 100 / measured["classes"].iloc[0]
    indexed = measured.set_index(["flaw", "setting"])
    table = indexed.loc[indexed["granularity"] == GRANULARITIES[0], ["images", "float_top1"]].copy()
    for granularity in GRANULARITIES:
        rows = indexed[indexed["granularity"] == granularity]
        table[f"{granularity}_top1"] = rows["int8_top1"]
        table[f"{granularity}_drop"] = sound - rows["int8_top1"]
        table[f"{granularity}_lost_pct"] = 100 * table[f"{granularity}_drop"] / reachable
        table[f"{granularity}_drift_last"] = rows["drift_last"]
    differences = [table[f"{name}_lost_pct"] - paper_lost_pct(paper, name) for name in GRANULARITIES]
    table["distance"] = [math.hypot(*pair) for pair in zip(*differences, strict=True)]
    ordered = table.reset_index().sort_values(["distance", "flaw", "setting"], ignore_index=True)
    return ordered[list(AUDIT_LOSSES.columns)]


def paper_lost_pct(paper: Paper, granularity: str) -> float:
    """What the paper's post-training quantization loses, in percent of what its FP32 network has above chance."""
    figures = _paper_figures(paper, granularity)
    assert figures.fp32_top1 is not None and figures.gap_points is not None
    return -100 * figures.gap_points / (figures.fp32_top1 - 100 / PAPER_CLASSES)


def _paper_figures(paper: Paper, granularity: str) -> PaperFigures:
    """Of the 8-bit post-training quantization with one weight scale per tensor or per channel."""
    return next(
        figures
        for experiment, figures in paper.quantized.items()
        if experiment.scope == "none" and experiment.weight_granularity == granularity
    )


def audit_points(table: pd.DataFrame, measured: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """The rows to plot, in the order in which they were tried, then the paper's: flaw, setting, and shares lost."""
    order = measured[["flaw", "setting"]].drop_duplicates()
    shares = [f"{name}_lost_pct" for name in GRANULARITIES]
    tried = order.merge(table, on=["flaw", "setting"])[["flaw", "setting", *shares]]
    wanted = pd.DataFrame([("the paper", "", *(paper_lost_pct(paper, name) for name in GRANULARITIES))])
    return pd.concat([tried, wanted.set_axis(tried.columns, axis=1)], ignore_index=True)


def audit_table(table: pd.DataFrame, paper: Paper) -> Table:
    """The table for readers: the paper's row, then what is nearest to it."""
    columns = (
        Column("Flaw", cell=lambda row: row.flaw),
        Column("Setting", cell=lambda row: row.setting or NOTHING),
        Column("Float", "number", lambda row: percent(row.float_top1, 2)),
        Column("Per tensor", "number", lambda row: percent(row.tensor_top1, 2)),
        Column("Lost", "number", lambda row: percent(row.tensor_lost_pct, 1)),
        Column("Per channel", "number", lambda row: percent(row.channel_top1, 2)),
        Column("Lost", "number", lambda row: percent(row.channel_lost_pct, 1)),
        Column("Drift, tensor", "number", lambda row: _drift(row.tensor_drift_last)),
        Column("Drift, channel", "number", lambda row: _drift(row.channel_drift_last)),
        Column("Distance", "number", lambda row: NOTHING if math.isnan(row.distance) else f"{row.distance:.1f}"),
    )
    first: dict[str, Any] = {"flaw": "(the paper)", "setting": "", "images": 0, "float_top1": paper.fp32.fp32_top1}
    for name in GRANULARITIES:
        first[f"{name}_top1"] = _paper_figures(paper, name).int8_top1
        first[f"{name}_lost_pct"] = paper_lost_pct(paper, name)
    rows = [*rows_of(AUDIT_LOSSES.frame([first])), *rows_of(table)]
    return Table.of("Audit: which flaw gives such numbers?", columns, rows, _notes(table))


def _drift(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return f"> {WORST_DRIFT:.0f}" if value > WORST_DRIFT else f"{value:.2f}"


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    return (
        f"Simulated post-training quantization on {table['images'].iloc[0]:,} test images, evenly spread; float: the"
        f" flawed network before it is quantized. First row: {AUTHORS}, {TABLE_2} and section 4.1.",
        f"In {NONE}, the sound experiment, channels that died in training are silenced; dead_channels kept is the"
        " pipeline's own quantization of the network as it is. Every other row adds its flaw to the sound experiment.",
        "Lost: of what the sound float network has above chance, in percent. Distance: of both shares from the paper's,"
        " in points; the nearest come first.",
        "Drift: ‖sound FP32 − flawed INT8‖₂ / ‖sound FP32‖₂ of the last block's output; the paper's converges to 1.",
    )
