"""The figures of the report: which there are, the rows that each shows, and what to see in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from selectq.tables import charts
from selectq.tables.charts import Looks
from selectq.tables.plot_data import accuracy_points, causes_by_kind, paper_accuracy_points
from selectq.tables.tables import Table2Row


@dataclass(frozen=True)
class ReportFigure:
    """A picture of `height` inches that `paint` makes of `data`, with its heading and caption."""

    heading: str
    caption: str
    height: float
    data: pd.DataFrame
    paint: charts.Paint


def worst_and_best(rows: Sequence[Table2Row]) -> list[str]:
    """The configurations of the lowest and of the highest accuracy.

    What takes a panel for each configuration is shown of these alone; `dvc plots show` has them all.
    """
    ordered = sorted((row.int8_top1, row.config) for row in rows if row.int8_top1 is not None)
    return list(dict.fromkeys(config for _, config in ordered[:1] + ordered[-1:]))


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


def gap_figures(paired: pd.DataFrame, looks: Looks, margin_points: float) -> list[ReportFigure]:
    """The gap of every configuration to each network that it is compared with, and its interval."""
    return [
        ReportFigure(
            f"Gap to {reference}",
            "Bar: the paired bootstrap interval, on the same test images. Where it is clear of the dashed line, the"
            f" choice of the images does not explain the gap. Band: ±{margin_points:g} points; where the bar ends short"
            " of its left edge, the loss is smaller than that.",
            0.8 + 0.24 * len(rows),
            rows,
            partial(charts.paint_gaps, looks=looks, margin_points=margin_points),
        )
        for reference, rows in paired.groupby("reference", sort=False)
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


def calibration_figures(calibration: pd.DataFrame, fp32_top1: float) -> list[ReportFigure]:
    """Accuracy by range estimator and number of calibration images."""
    panels = calibration["config"].nunique()
    return [
        ReportFigure(
            "Accuracy by range estimator and number of calibration images",
            "Quantization after training, simulated, on some of the test images. Dashed: FP32 on all of them. Where the"
            " lines lie together, the choice does not matter.",
            0.9 + 1.9 * panels,
            calibration,
            partial(charts.paint_calibration, fp32_top1=fp32_top1),
        )
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


def cause_figures(causes: pd.DataFrame, looks: Looks) -> list[ReportFigure]:
    """Which kinds of layers start the error, and how."""
    return [
        ReportFigure(
            "Causes of drift, by kind of layer",
            "Root mean square of each cause's drift over the layers of a kind, the whole network quantized. What a kind"
            " inherits, others have started; the other panels are what it adds itself. No marker: less than 0.0001. All"
            " panels have one scale.",
            7.6,
            causes_by_kind(causes),
            partial(charts.paint_causes, looks=looks),
        )
    ]


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
            "How often each integer occurs after quantization, in the configurations of the lowest and of the highest"
            " accuracy. Few levels, or nearly all values on one, mean that the scale is too coarse for most of them.",
            0.6 + 1.1 * panels,
            rows,
            partial(charts.paint_histograms, looks=looks),
        )
        for layer, rows in histograms.groupby("layer", sort=False)
    ]
    return channels + levels


def confusion_figures(confusion: pd.DataFrame) -> list[ReportFigure]:
    """What each of these programs takes for what."""
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
