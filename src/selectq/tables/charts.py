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
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

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
LAYER_PANELS = {
    "expansion": ("expansion",),
    "depthwise": ("depthwise",),
    "projection": ("projection",),
    "stem, head, classifier": ("stem", "head", "classifier"),
}
"""Panel -> the kinds of layers in it. Along one kind, a line is smooth; along all, it jumps from kind to kind."""
CAUSE_KINDS = {
    "stem": "stem",
    "expansion": "expansion",
    "depthwise": "depthwise",
    "projection": "projection",
    "block": "residual sum",
    "head": "head",
    "pool": "pool",
    "classifier": "classifier",
}
"""What has an error of its own, in network order -> how it is written."""
SMALLEST_CAUSE = 1e-4
"""Of drift: what is less does not matter, and would squeeze the rest."""
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


LINEAR_POINTS = 2
"""Up to so many points a gap's axis is linear: one configuration that fails would squeeze all others into a dot."""


def paint_gaps(figure: Figure, gaps: pd.DataFrame, looks: Looks, margin_points: float) -> None:
    """A line for each configuration, from ci_low to ci_high, a marker at gap_points; the margin is a band about 0."""
    axes = figure.subplots()
    axes.axvspan(-margin_points, margin_points, color=REFERENCE, alpha=0.15, linewidth=0)
    axes.axvline(0, color=REFERENCE, linestyle="--", linewidth=1)
    for place, (config, gap) in enumerate(gaps.groupby("config", sort=False)):
        look = looks[str(config)]
        axes.hlines([place], gap["ci_low"], gap["ci_high"], color=look.colour, linewidth=1.6)
        axes.plot(gap["gap_points"], [place], look.marker, color=look.colour, markersize=6)
    axes.set_yticks(range(len(gaps)), gaps["config"])
    axes.set_ylim(len(gaps) - 0.5, -0.5)
    axes.grid(False, axis="y")
    unit = "points"
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    if gaps[["ci_low", "ci_high"]].abs().to_numpy().max() > 2 * LINEAR_POINTS:
        axes.set_xscale("symlog", linthresh=LINEAR_POINTS, linscale=1.5)
        axes.xaxis.set_major_locator(FixedLocator([-50, -20, -5, -2, -1, 0, 1, 2, 5, 20, 50]))
        axes.xaxis.set_minor_locator(NullLocator())
        unit += f", logarithmic beyond ±{LINEAR_POINTS}"
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0"))
    axes.margins(x=0.04)
    axes.set_xlabel(f"gap to {gaps['reference'].iloc[0]} ({unit})")


def paint_block_drift(figure: Figure, drift: pd.DataFrame, looks: Looks) -> None:
    """Drift along the blocks, one line for each configuration: columns config, index, drift."""
    axes = figure.subplots()
    _paint_drift(axes, drift, looks)
    axes.set_xlabel("block (0: stem, last: head)")
    axes.set_ylabel("drift (relative L2 error)")
    _legend_below(figure, axes)


def paint_layer_drift(figure: Figure, drift: pd.DataFrame, looks: Looks) -> None:
    """Drift of every layer, a panel for each kind of layer: columns config, index, layer_kind, drift."""
    panels = figure.subplots(len(LAYER_PANELS), 1, sharex=True, sharey=True)
    for axes, (title, kinds) in zip(panels, LAYER_PANELS.items(), strict=True):
        for kind in kinds:
            _paint_drift(axes, drift[drift["layer_kind"] == kind], looks)
        axes.set_title(title)
        axes.set_ylabel("drift")
    panels[-1].set_xlabel("layer, in network order")
    _legend_below(figure, panels[0])


def _paint_drift(axes: Axes, drift: pd.DataFrame, looks: Looks) -> None:
    for config, rows in drift.groupby("config", sort=False):
        look = looks[str(config)]
        axes.plot(rows["index"], rows["drift"], color=look.colour, marker=look.marker, linewidth=1.2, label=config)
    _log_drift(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _log_drift(axes: Axes) -> None:
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def paint_causes(figure: Figure, causes: pd.DataFrame, looks: Looks) -> None:
    """Drift of every kind of layer, a panel for each cause: columns config, layer_kind, cause, drift."""
    panels = figure.subplots(causes["cause"].nunique(), 1, sharex=True, sharey=True)
    configs, kinds = list(causes["config"].unique()), list(CAUSE_KINDS)
    for axes, (cause, of_cause) in zip(panels, causes.groupby("cause", sort=False), strict=True):
        for number, config in enumerate(configs):
            rows, look = of_cause[of_cause["config"] == config], looks[config]
            beside = 0.8 * ((number + 0.5) / len(configs) - 0.5)  # so that no marker hides another
            places = [kinds.index(kind) + beside for kind in rows["layer_kind"]]
            axes.plot(places, rows["drift"], look.marker, color=look.colour, label=config)
        axes.set_title(cause)
        axes.set_ylabel("drift")
        _log_drift(axes)
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.grid(False, axis="x")
        for border in range(1, len(kinds)):
            axes.axvline(border - 0.5, color="#e6e6e6", linewidth=0.8, zorder=0)
    panels[-1].set_xlim(-0.5, len(kinds) - 0.5)
    panels[-1].set_ylim(SMALLEST_CAUSE, max(2.0, 1.5 * causes["drift"].max()))
    panels[-1].set_xticks(range(len(kinds)), CAUSE_KINDS.values(), rotation=30, ha="right", rotation_mode="anchor")
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


def paint_calibration(figure: Figure, calibration: pd.DataFrame, fp32_top1: float) -> None:
    """Accuracy by calibration, a panel for each configuration: columns config, estimator, images, test_top1."""
    panels, looks = list(calibration.groupby("config", sort=False)), assign_looks(calibration["estimator"].unique())
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (config, shown) in zip(grid, panels, strict=True):
        axes.axhline(fp32_top1, color=REFERENCE, linestyle="--", linewidth=1, label="FP32")
        for estimator, rows in shown.groupby("estimator", sort=False):
            look, ordered = looks[str(estimator)], rows.sort_values("images")
            axes.plot(ordered["images"], ordered["test_top1"], color=look.colour, marker=look.marker, label=estimator)
        axes.set_title(config)
        axes.set_ylabel("top-1 (%)")
    grid[-1].set_xscale("log")
    grid[-1].xaxis.set_major_locator(FixedLocator(sorted(calibration["images"].unique())))
    grid[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    grid[-1].xaxis.set_minor_locator(NullLocator())
    grid[-1].set_xlabel("calibration images (logarithmic)")
    _legend_below(figure, grid[0])


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


PAPER = "the paper"
COUNTED_CLASSES = 12
"""Up to so many classes, a cell of a confusion matrix shows its share."""


def paint_confusion(figure: Figure, confusion: pd.DataFrame) -> None:
    """What one program takes for what: columns true_class, predicted_class, share in [0, 1]."""
    shares = confusion.set_index(["true_class", "predicted_class"])["share"].unstack(sort=False)
    axes = figure.subplots()
    # Of the perceptually uniform maps one that is light where there is little; the square root spreads small shares.
    axes.imshow(shares, cmap="magma_r", norm=PowerNorm(0.5, 0, 1), aspect="auto", interpolation="none")
    axes.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shares)), shares.index)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(shares) <= COUNTED_CLASSES:
        _write_shares(axes, shares)


def _write_shares(axes: Axes, shares: pd.DataFrame) -> None:
    """In whole percent, where that is not 0; light on the dark cells."""
    for row, of_class in enumerate(shares.itertuples(index=False, name=None)):
        for column, share in enumerate(of_class):
            if share >= 0.005:
                colour = "white" if share > 0.2 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8)


def paint_latency(figure: Figure, latency: pd.DataFrame) -> None:
    """Time per image of every program: columns machine, case, batch, program, ms_per_image."""
    panels = list(latency.groupby(["machine", "batch"], sort=False))
    programs, looks = list(latency["program"].unique()), assign_looks(latency["case"].unique())
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, ((machine, batch), shown) in zip(grid, panels, strict=True):
        for case, rows in shown.groupby("case", sort=False):
            look, places = looks[str(case)], [programs.index(program) for program in rows["program"]]
            axes.plot(rows["ms_per_image"], places, look.marker, color=look.colour, markersize=6, label=case)
        axes.set_title(f"{machine}\n{'one image' if batch == 1 else f'{batch} images'} at once")
        axes.set_yticks(range(len(programs)), programs)
        axes.set_ylim(len(programs) - 0.5, -0.5)
    grid[-1].set_xscale("log")
    grid[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    grid[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    grid[-1].xaxis.set_minor_locator(NullLocator())
    grid[-1].set_xlabel("time per image (ms, logarithmic)")
    _legend_below(figure, grid[0])


COMBINED = "several at once"
HARMLESS = "next to nothing"
CROWD = 12.0
"""Flaws that lose less, in points of the share lost, lie on each other: one look for them all, and no words."""


def paint_audit(figure: Figure, audit: pd.DataFrame) -> None:
    """What flaws lose per channel and per tensor; columns flaw, setting, channel_lost_pct, tensor_lost_pct.

    The settings of one flaw, if they are numbers, are joined in their order. The row of the flaw `PAPER` is what is
    looked for.
    """
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=REFERENCE, linestyle="--", linewidth=1)
    flaws = audit.assign(flaw=_audit_groups(audit))
    special = {COMBINED: Look(REFERENCE, "X"), HARMLESS: Look(REFERENCE, "."), PAPER: Look("none", "*")}
    looks = {**assign_looks(name for name in flaws["flaw"].unique() if name not in special), **special}
    for flaw, rows in flaws.groupby("flaw", sort=False):
        look, joined = looks[str(flaw)], pd.to_numeric(rows["setting"], errors="coerce").notna().all()
        shares = list(zip(rows["channel_lost_pct"], rows["tensor_lost_pct"], strict=True))
        axes.plot(
            *zip(*shares, strict=True),
            color=look.colour,
            marker=look.marker,
            linestyle="-" if joined and flaw != HARMLESS else "none",
            linewidth=0.8,
            markersize=16 if flaw == PAPER else 5,
            markeredgecolor="red" if flaw == PAPER else look.colour,
            label=flaw,
        )
        if flaw not in (COMBINED, HARMLESS, PAPER):
            _annotate(axes, rows["setting"], shares, look.colour)
    axes.set_xlabel("lost per channel (% of what is above chance)")
    axes.set_ylabel("lost per tensor (%)")
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0), fontsize=8, labelspacing=0.6)  # a scale per channel helps


def _audit_groups(audit: pd.DataFrame) -> pd.Series:
    """What each row of `paint_audit` is shown as: its flaw, or what it shares a look with."""
    worst = audit[["channel_lost_pct", "tensor_lost_pct"]].max(axis=1).groupby(audit["flaw"]).transform("max")
    groups = audit["flaw"].mask(audit["flaw"].str.contains(" + ", regex=False), COMBINED)
    return groups.mask((worst < CROWD) & (groups != COMBINED), HARMLESS)


def _annotate(axes: Axes, settings: Iterable[str], places: Iterable[tuple[float, float]], colour: str) -> None:
    """Write the settings beside the points that lose something, but not all: above the diagonal on the left."""
    for setting, (channel, tensor) in zip(settings, places, strict=True):
        if CROWD < max(channel, tensor) < 100 - CROWD / 4:
            offset, side = ((-6, 1), "right") if tensor > channel + 1 and channel > CROWD / 2 else ((6, -8), "left")
            axes.annotate(
                *(setting, (channel, tensor), offset),
                textcoords="offset points",
                ha=side,
                fontsize=8,
                color=colour,
            )


def _legend_below(figure: Figure, axes: Axes) -> None:
    """One legend under all panels, in as many even rows as its text needs."""
    handles, labels = axes.get_legend_handles_labels()
    rows = math.ceil(sum(len(label) + 6 for label in labels) / LEGEND_CHARACTERS)
    figure.legend(handles, labels, loc="outside lower center", ncols=math.ceil(len(labels) / rows))
