"""Results as lines, as a table and as a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from timing import Spread, Timing, Trainer, spread
from workload import Workload

from selectq.files import written_whole

LIGHT_BLUE, ORANGE = "#56B4E9", "#D55E00"
"""Of Okabe and Ito's palette: told apart with any colour vision, and in grey."""

COLUMNS = ["case", "ours", "peer_name", "peer", "ratio", "goal", "met", "repeats"]


@dataclass(frozen=True)
class Case:
    """A comparison: the two sides, and the ratio that is aimed at, if any is."""

    name: str
    peer_name: str
    goal: float | None
    ours: Callable[[Workload], Trainer]
    peer: Callable[[Workload], Trainer]


@dataclass(frozen=True)
class Result:
    """A comparison and what was measured."""

    case: Case
    timing: Timing

    @property
    def ratio(self) -> float:
        """Median of the pairwise ratios, as it is printed and as it is held against the goal."""
        return round(spread(self.timing.ratios()).median, 3)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.case.goal is None else self.ratio >= self.case.goal


def table(results: list[Result]) -> pd.DataFrame:
    """One row for each comparison; `ours` and `peer` in images/s."""
    rows = [
        (
            result.case.name,
            round(spread(result.timing.ours).median, 1),
            result.case.peer_name,
            round(spread(result.timing.peer).median, 1),
            result.ratio,
            result.case.goal,
            result.met,
            len(result.timing.ours),
        )
        for result in results
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(result: Result) -> str:
    """Medians with the smallest and the largest repeat, and what became of the goal."""
    ours, peer = spread(result.timing.ours), spread(result.timing.peer)
    ratios = spread(result.timing.ratios())
    verdict = {None: "no goal set", True: f"goal {result.case.goal} met", False: f"goal {result.case.goal} MISSED"}
    return (
        f"{result.case.name}: ours {ours.median:.0f} images/s ({ours.low:.0f} to {ours.high:.0f}); "
        f"{result.case.peer_name} {peer.median:.0f} ({peer.low:.0f} to {peer.high:.0f}); "
        f"ratio {ratios.median:.2f} ({ratios.low:.2f} to {ratios.high:.2f}); {verdict[result.met]}"
    )


def draw(results: list[Result], hardware: str, path: Path) -> None:
    """Write a PNG: a bar for each comparison, its spread, and the goal."""
    figure = Figure(figsize=(9, 1.8 + 0.7 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    _draw_ratios(axes, [spread(result.timing.ratios()) for result in results])
    _draw_goals(axes, [result.case.goal for result in results])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(results)), [f"{result.case.name}\nagainst {result.case.peer_name}" for result in results])
    axes.invert_yaxis()
    axes.set_xlabel("ours / peer (ratio of images/s; 1: equally fast)")
    axes.set_title(f"Training steps against the usual loops\n{hardware}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _draw_ratios(axes: Axes, ratios: list[Spread]) -> None:
    medians = [ratio.median for ratio in ratios]
    error = [[ratio.median - ratio.low for ratio in ratios], [ratio.high - ratio.median for ratio in ratios]]
    label = "measured: median, smallest to largest"
    axes.barh(range(len(ratios)), medians, 0.6, xerr=error, capsize=3, color=LIGHT_BLUE, label=label)
    for row, median in enumerate(medians):
        axes.annotate(f"{median:.2f}", (0, row), xytext=(4, 0), textcoords="offset points", va="center")


def _draw_goals(axes: Axes, goals: list[float | None]) -> None:
    known = [(row, goal) for row, goal in enumerate(goals) if goal is not None]
    rows, places = [row for row, _ in known], [goal for _, goal in known]
    starts, ends = [row - 0.4 for row in rows], [row + 0.4 for row in rows]
    axes.vlines(places, starts, ends, colors=ORANGE, linestyles="dashed", linewidth=2.5, label="goal")
