"""Results as a picture."""

from pathlib import Path

from int8_cases import Setting
from int8_report import Result, words
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from selectq.files import written_whole

COLOURS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00")
"""Of Okabe and Ito's palette, one for each setting: told apart with any colour vision."""

BAR_INCHES = 0.2
BAR = 0.85
"""Of the place that a bar has."""


def draw(results: list[Result], hardware: str, path: Path) -> None:
    """Write a PNG: a panel for each case, in it for each peer a bar for each setting, with spread and goal."""
    settings = list(dict.fromkeys(result.setting for result in results))
    cases = list(dict.fromkeys(result.case for result in results))
    panels = [[result for result in results if result.case == case] for case in cases]
    heights = [_rows(panel, settings)[-1] + 2 for panel in panels]
    figure = Figure(figsize=(10, 1.8 + BAR_INCHES * sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(cases), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, case, panel in zip(all_axes, cases, panels, strict=True):
        axes.set_title(case, fontsize=10, loc="left", fontweight="bold")
        _draw_panel(axes, panel, settings)
    _scale(all_axes[-1], [result.ratios.low for result in results], [result.ratios.high for result in results])
    figure.suptitle(f"INT8 inference: our ONNX program in ONNX Runtime against its peers\n{hardware}", fontsize=11)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _draw_panel(axes: Axes, panel: list[Result], settings: list[Setting]) -> None:
    rows = _rows(panel, settings)
    for setting, colour in zip(settings, COLOURS, strict=False):
        chosen = {row: result for row, result in zip(rows, panel, strict=True) if result.setting == setting}
        _draw_bars(axes, chosen, colour, words(setting))
    _draw_goals(axes, {row: result.goal for row, result in zip(rows, panel, strict=True) if result.goal is not None})
    axes.axvline(1, color="black", linewidth=0.8)
    peers = list(dict.fromkeys(result.peer for result in panel))
    middle = (len(settings) - 1) / 2
    axes.set_yticks([index * (len(settings) + 1) + middle for index in range(len(peers))], peers)
    axes.set_ylim(rows[-1] + 1, -1)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _rows(panel: list[Result], settings: list[Setting]) -> list[int]:
    """Where each result's bar lies: a peer's settings one below the other, an empty row between two peers."""
    peers = list(dict.fromkeys(result.peer for result in panel))
    return [peers.index(result.peer) * (len(settings) + 1) + settings.index(result.setting) for result in panel]


def _draw_bars(axes: Axes, chosen: dict[int, Result], colour: str, label: str) -> None:
    """Bars that start at 1: to the right ours is faster, to the left the peer."""
    ratios = [result.ratios for result in chosen.values()]
    medians = [ratio.median for ratio in ratios]
    axes.barh(list(chosen), [median - 1 for median in medians], BAR, left=1, color=colour, label=label)
    error = [[ratio.median - ratio.low for ratio in ratios], [ratio.high - ratio.median for ratio in ratios]]
    axes.errorbar(medians, list(chosen), xerr=error, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    for row, result in chosen.items():
        end = (max(1, result.ratios.high, result.goal or 1), row)
        axes.annotate(f"{result.ratio:.2f}", end, (6, 0), textcoords="offset points", va="center", fontsize=8)


def _draw_goals(axes: Axes, goals: dict[int, float]) -> None:
    starts, ends = [row - BAR / 2 for row in goals], [row + BAR / 2 for row in goals]
    axes.vlines(list(goals.values()), starts, ends, colors="#CC79A7", linewidth=3, label="goal", zorder=3)


def _scale(axes: Axes, lows: list[float], highs: list[float]) -> None:
    """Logarithmic, since half and twice are equally far from 1."""
    axes.set_xscale("log")
    axes.set_xlim(0.9 * min(1, *lows), 1.2 * max(1, *highs))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ours / peer (ratio of images/s; 1: equally fast). Bar: median; line: lowest to highest")
