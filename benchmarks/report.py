"""Results as lines, as a table and as a picture."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selectq.files import written_whole
from selectq.latency.turns import Spread, Timing, spread

LIGHT_BLUE, ORANGE = "#56B4E9", "#D55E00"
"""Of Okabe and Ito's palette: told apart with any colour vision, and in grey."""

COLUMNS = ["case", "ours", "peer_name", "peer", "ratio", "goal", "met", "repeats"]


@dataclass(frozen=True)
class Comparison:
    """Something measured, beside a peer if it has one, and the ratio that is aimed at, if any is.

    Values are images/s unless the case's name ends in a unit. `timing.peer` is empty without a peer.
    """

    case: str
    timing: Timing
    peer_name: str | None
    goal: float | None

    @staticmethod
    def of_limit(case: str, seconds: list[float], limit: float) -> "Comparison":
        """Seconds beside what they should not exceed. The ratio is how often they would fit into it."""
        return Limited(case, Timing(seconds, [limit] * len(seconds)), "limit", 1.0)

    @staticmethod
    def with_bound(case: str, speeds: list[float], bound: float, name: str) -> "Comparison":
        """Images/s beside the most that the machine's ceilings allow; the ratio is the share that is reached."""
        return Comparison(case, Timing(speeds, [bound] * len(speeds)), name, None)

    def ratios(self) -> list[float]:
        """How much better ours is, round by round."""
        return self.timing.ratios()

    @property
    def ratio(self) -> float | None:
        """Median of the ratios, as it is printed and as it is held against the goal."""
        return round(spread(self.ratios()).median, 3) if self.timing.peer else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None or self.ratio is None else self.ratio >= self.goal


class Limited(Comparison):
    """Less is better."""

    def ratios(self) -> list[float]:
        """How often ours fits into the limit."""
        return [1 / ratio for ratio in self.timing.ratios()]


def table(results: list[Comparison]) -> pd.DataFrame:
    """One row for each comparison."""
    rows = [
        (
            result.case,
            round(spread(result.timing.ours).median, 2),
            result.peer_name,
            round(spread(result.timing.peer).median, 2) if result.timing.peer else None,
            result.ratio,
            result.goal,
            result.met,
            len(result.timing.ours),
        )
        for result in results
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(result: Comparison) -> str:
    """Medians with the smallest and the largest repeat, and what became of the goal."""
    ours = spread(result.timing.ours)
    text = f"{result.case}: {ours.median:.4g} ({ours.low:.4g} to {ours.high:.4g})"
    if not result.timing.peer:
        return text
    peer, ratios = spread(result.timing.peer), spread(result.ratios())
    verdict = {None: "no goal set", True: f"goal {result.goal} met", False: f"goal {result.goal} MISSED"}
    return (
        f"{text}; {result.peer_name} {peer.median:.4g} ({peer.low:.4g} to {peer.high:.4g}); "
        f"ratio {ratios.median:.2f} ({ratios.low:.2f} to {ratios.high:.2f}); {verdict[result.met]}"
    )


def draw(results: list[Comparison], hardware: str, path: Path) -> None:
    """Write a PNG: a bar for each comparison with a peer, its spread, and the goal."""
    shown = [result for result in results if result.timing.peer]
    figure = Figure(figsize=(10, 1.8 + 0.42 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    _draw_ratios(axes, [spread(result.ratios()) for result in shown])
    _draw_goals(axes, [result.goal for result in shown])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [f"{result.case} / {result.peer_name}" for result in shown], fontsize=8)
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 100], ["0.1", "0.2", "0.5", "1", "2", "5", "10", "50", "100"])
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.set_xlabel("ours / peer (above 1: ours is better), logarithmic")
    axes.set_title(f"Training, passes and start-up beside peers, limits and bounds\n{hardware}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _draw_ratios(axes: Axes, ratios: list[Spread]) -> None:
    label = "measured: median, smallest to largest"
    for row, ratio in enumerate(ratios):
        axes.plot([ratio.low, ratio.high], [row, row], color=LIGHT_BLUE, linewidth=6, solid_capstyle="butt")
        axes.plot([ratio.median], [row], "o", color="black", markersize=4, label=label if row == 0 else None)
        axes.annotate(f"{ratio.median:.2f}", (ratio.high, row), xytext=(6, 0), textcoords="offset points", va="center")


def _draw_goals(axes: Axes, goals: list[float | None]) -> None:
    known = [(row, goal) for row, goal in enumerate(goals) if goal is not None]
    rows, places = [row for row, _ in known], [goal for _, goal in known]
    starts, ends = [row - 0.4 for row in rows], [row + 0.4 for row in rows]
    axes.vlines(places, starts, ends, colors=ORANGE, linestyles="dashed", linewidth=2, label="goal")
