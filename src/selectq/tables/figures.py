"""The figures of the report: which there are, the rows that each shows, and what to see in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from selectq.tables import charts
from selectq.tables.charts import Looks
from selectq.tables.plot_data import accuracy_points, paper_accuracy_points
from selectq.tables.tables import Table2Row


@dataclass(frozen=True)
class ReportFigure:
    """A picture of `height` inches that `paint` makes of `data`, with its heading and caption."""

    heading: str
    caption: str
    height: float
    data: pd.DataFrame
    paint: charts.Paint


def accuracy_figures(rows: Sequence[Table2Row], looks: Looks) -> list[ReportFigure]:
    """Accuracy against the retrained share: of this run, and of the paper where it has the same experiments."""
    paint = partial(charts.paint_accuracy, looks=looks)
    return [
        ReportFigure(
            "Accuracy against the retrained share",
            "One point for each INT8 program; its bar is one standard error. The nearer a point is to the dashed line,"
            " the less quantization costs; the further left, the less was retrained for it.",
            3.3,
            accuracy_points(rows),
            paint,
        ),
        ReportFigure(
            "The same in the paper",
            "What the paper prints for the same experiments, on its own network. Compare the order of the points and"
            " their distance from the line.",
            3.3,
            paper_accuracy_points(rows),
            paint,
        ),
    ]


def learning_figures(learning: pd.DataFrame, looks: Looks) -> list[ReportFigure]:
    """Accuracy by epoch: of the FP32 training, and of QAT."""
    is_fp32 = learning["config"] == "fp32"
    paint = partial(charts.paint_learning, looks=looks)
    return [
        ReportFigure(
            "FP32 training",
            "Solid: on the validation images. Dotted: on the training images, as augmented.",
            3.0,
            learning[is_fp32],
            paint,
        ),
        ReportFigure(
            "Quantization-aware training",
            "The fake-quantized networks: validation solid, training dotted. Compare the level that a small scope"
            " reaches with that of the largest.",
            3.0,
            learning[~is_fp32],
            paint,
        ),
    ]


DRIFT_MEANINGS = {
    "accumulated": "The whole network is quantized: shows where the error is.",
    "isolated": "This block or layer alone is quantized, on exact input: shows where the error starts.",
}


def drift_figures(drift: pd.DataFrame, looks: Looks) -> list[ReportFigure]:
    """Drift of both kinds along the blocks, then along the layers inside them."""
    is_block = drift["layer_kind"] == "block"
    blocks = [
        ReportFigure(
            f"Per block, {kind}",
            meaning,
            3.0,
            drift[is_block & (drift["kind"] == kind)],
            partial(charts.paint_block_drift, looks=looks),
        )
        for kind, meaning in DRIFT_MEANINGS.items()
    ]
    layers = [
        ReportFigure(
            f"Per layer, {kind}",
            f"{meaning} A panel for each kind of layer, all with one scale.",
            6.9,
            drift[~is_block & (drift["kind"] == kind)],
            partial(charts.paint_layer_drift, looks=looks),
        )
        for kind, meaning in DRIFT_MEANINGS.items()
    ]
    return blocks + layers


def distribution_figures(ranges: pd.DataFrame, histograms: pd.DataFrame, looks: Looks) -> list[ReportFigure]:
    """Channel ranges and level histograms of each inspected layer (the paper's figures 3 and 4)."""
    panels = histograms["config"].nunique()
    channels = [
        ReportFigure(
            f"Channel ranges of {layer}",
            "Each channel's activations in the FP32 network. One scale serves them all: where ranges are unequal, the"
            " narrow channels get few of its levels.",
            3.0,
            rows,
            charts.paint_channel_ranges,
        )
        for layer, rows in ranges.groupby("layer", sort=False)
    ]
    levels = [
        ReportFigure(
            f"Levels used by {layer}",
            "How often each integer occurs after quantization. Few levels, or nearly all values on one, mean that the"
            " scale is too coarse for most of them.",
            0.6 + 1.1 * panels,
            rows,
            partial(charts.paint_histograms, looks=looks),
        )
        for layer, rows in histograms.groupby("layer", sort=False)
    ]
    return channels + levels


def confusion_figures(confusion: pd.DataFrame) -> list[ReportFigure]:
    """What each program takes for what."""
    return [
        ReportFigure(
            f"Confusion of {config}",
            "Of each true class (row) the share, in percent, that the program takes for each class. Of many classes,"
            " the 20 of which most images go wrong.",
            4.0,
            rows,
            charts.paint_confusion,
        )
        for config, rows in confusion.groupby("config", sort=False)
    ]


def audit_figures(audit: pd.DataFrame) -> list[ReportFigure]:
    """What each flaw loses, beside the paper."""
    return [
        ReportFigure(
            "What each flaw loses",
            "Every point is a post-training quantization with a flaw of the size beside it; the star is the paper's."
            " On the dashed line, a scale per channel does not help. What lies between the settings of one flaw is"
            " joined; grey points are flaws that lose next to nothing.",
            5.2,
            audit,
            charts.paint_audit,
        )
    ]


def latency_figures(latency: pd.DataFrame) -> list[ReportFigure]:
    """Time per image beside other runtimes; a panel for each machine and batch."""
    panels = len(latency[["machine", "batch"]].drop_duplicates())
    machines = latency[["machine", "versions"]].drop_duplicates().itertuples(index=False, name=None)
    measured = "; ".join(f"{machine} with {versions}" for machine, versions in machines)
    return [
        ReportFigure(
            "Time per image on one thread",
            "Further left is faster. Programs of the benchmark's networks for 32 × 32 pixels, not of this run's: speed"
            " does not depend on the weights. Marker: the activations' scheme; stride_1: the second stage's stride is"
            f" 1, for four times the pixels behind it. {measured}.",
            0.9 + 2.1 * panels,
            latency,
            charts.paint_latency,
        )
    ]
