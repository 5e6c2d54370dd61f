"""The report's pictures. Each function paints one figure; `to_svg` makes it, in the common style."""

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# Okabe and Ito's palette, which colour-blind readers tell apart; its yellow is too faint on white.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
REFERENCE = "#666666"
LAYER_KIND_COLOURS = {
    "stem": BLACK,
    "expansion": SKY,
    "depthwise": VERMILLION,
    "projection": BLUE,
    "head": GREEN,
    "classifier": PURPLE,
}
WIDTH = 5.0
"""Inches: one column of the report, so that all text has one size; still legible when a phone shrinks it."""
LEGEND_CHARACTERS = 73
"""What fits into this width, with six for each entry's marker and space."""

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.5,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.hashsalt": "selectq",  # otherwise the ids in the file are random
}


@dataclass(frozen=True)
class Look:
    """Colour and marker of one configuration, the same in every picture."""

    colour: str
    marker: str


Looks = Mapping[str, Look]
Paint = Callable[[Figure, pd.DataFrame], None]


def assign_looks(names: Iterable[str]) -> Looks:
    """A look for `fp32` and for each configuration, in order; colours repeat after seven, markers after ten."""
    looks = zip(cycle((BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK, VERMILLION)), cycle("osD^vP*Xph"), strict=False)
    return {"fp32": Look(REFERENCE, "o")} | {name: Look(*look) for name, look in zip(names, looks, strict=False)}


def to_svg(paint: Paint, data: pd.DataFrame, height: float) -> bytes:
    """The SVG file of a figure of `height` inches on which `paint` shows `data`; the same bytes for the same data."""
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        paint(figure, data)
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def paint_accuracy(figure: Figure, accuracy: pd.DataFrame, looks: Looks) -> None:
    """Accuracy against the retrained share; columns as `plot_data.accuracy_points` gives them."""
    axes = figure.subplots()
    axes.axhline(accuracy["fp32_top1"].iloc[0], color=REFERENCE, linestyle="--", linewidth=1, label="FP32")
    for config, point in accuracy.groupby("config", sort=False):
        look = looks[str(config)]
        axes.errorbar(
            point["params_retrained_pct"],
            point["int8_top1"],
            point["standard_error_points"],
            color=look.colour,
            marker=look.marker,
            markersize=7,
            linestyle="none",
            elinewidth=1,
            label=config,
        )
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    axes.xaxis.set_major_locator(FixedLocator([0, 1, 10, 100]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(-0.3, 150)
    axes.set_xlabel("parameters retrained (%, logarithmic above 1)")
    axes.set_ylabel("top-1 on the test images (%)")
    _legend_below(figure, axes)


def paint_block_drift(figure: Figure, drift: pd.DataFrame, looks: Looks) -> None:
    """Drift along the blocks, one line for each configuration: columns config, index, drift."""
    axes = figure.subplots()
    for config, rows in drift.groupby("config", sort=False):
        look = looks[str(config)]
        axes.plot(rows["index"], rows["drift"], color=look.colour, marker=look.marker, label=config)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("block (0: stem, last: head)")
    axes.set_ylabel("drift (relative L2 error)")
    _legend_below(figure, axes)


def paint_layer_drift(figure: Figure, drift: pd.DataFrame) -> None:
    """Drift of every layer, a panel for each configuration: columns config, index, layer_kind, drift."""
    configs = list(drift["config"].unique())
    panels = figure.subplots(len(configs), 1, sharex=True, squeeze=False)[:, 0]
    for axes, config in zip(panels, configs, strict=True):
        of_config = drift[drift["config"] == config]
        for kind, colour in LAYER_KIND_COLOURS.items():
            rows = of_config[of_config["layer_kind"] == kind]
            axes.bar(rows["index"], rows["drift"], color=colour, width=0.8, label=kind)
        axes.grid(False, axis="x")
        axes.set_title(config)
        axes.set_ylabel("drift")
    panels[-1].set_xlabel("layer, in network order")
    _legend_below(figure, panels[0])


def paint_learning(figure: Figure, learning: pd.DataFrame, looks: Looks) -> None:
    """Accuracy by epoch, validation solid and training dotted: columns config, epoch, split, top1."""
    axes = figure.subplots()
    for (config, split), rows in learning.groupby(["config", "split"], sort=False):
        look = looks[str(config)]
        if split == "validation":
            axes.plot(rows["epoch"], rows["top1"], color=look.colour, marker=look.marker, label=config)
        else:
            axes.plot(rows["epoch"], rows["top1"], color=look.colour, linestyle=":", linewidth=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1 (%)")
    _legend_below(figure, axes)


def paint_channel_ranges(figure: Figure, ranges: pd.DataFrame) -> None:
    """The range of each output channel of one layer: columns channel, low, high."""
    axes = figure.subplots()
    edges = [*(ranges["channel"] - 0.5), ranges["channel"].max() + 0.5]
    axes.stairs(ranges["high"], edges, baseline=ranges["low"], fill=True, color=BLUE)
    axes.set_xlim(edges[0], edges[-1])
    axes.grid(False, axis="x")
    axes.set_xlabel("channel")
    axes.set_ylabel("activation, lowest to highest")


def paint_histograms(figure: Figure, histograms: pd.DataFrame, looks: Looks) -> None:
    """How often each integer level of one layer is used: columns config, tensor, level, share."""
    configs, tensors = list(histograms["config"].unique()), list(histograms["tensor"].unique())
    grid = figure.subplots(len(configs), len(tensors), sharex="col", sharey="col", squeeze=False)
    for config, row in zip(configs, grid, strict=True):
        for tensor, axes in zip(tensors, row, strict=True):
            chosen = histograms[(histograms["config"] == config) & (histograms["tensor"] == tensor)]
            _paint_levels(axes, chosen.set_index("level")["share"], looks[config].colour)
            axes.set_title(f"{config}: {tensor}s")
            axes.text(0.98, 0.96, f"{len(chosen)} levels used", ha="right", va="top", transform=axes.transAxes)
    for tensor, axes in zip(tensors, grid[-1], strict=True):
        axes.set_xlabel(f"{tensor} level")
    for axes in grid[:, 0]:
        axes.set_ylabel("share (%)")
    for column, tensor in enumerate(tensors):
        rarest = histograms.loc[histograms["tensor"] == tensor, "share"].min()
        grid[0, column].set_ylim(100 * rarest / 2, 500)  # room for the text


def _paint_levels(axes: Axes, shares: pd.Series, colour: str) -> None:
    levels = range(min(shares.index), max(shares.index) + 1)
    heights = 100 * shares.reindex(levels, fill_value=0)
    axes.stairs(heights, [level - 0.5 for level in (*levels, levels[-1] + 1)], fill=True, color=colour)
    axes.set_yscale("log", nonpositive="clip")


def _legend_below(figure: Figure, axes: Axes) -> None:
    """One legend under all panels, in as many even rows as its text needs."""
    handles, labels = axes.get_legend_handles_labels()
    rows = math.ceil(sum(len(label) + 6 for label in labels) / LEGEND_CHARACTERS)
    figure.legend(handles, labels, loc="outside lower center", ncols=math.ceil(len(labels) / rows))
