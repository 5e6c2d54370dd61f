"""The gaps of `bench_ptq.py` as a picture."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selectq.files import written_whole

OURS_COLOUR, PEER_COLOUR, GOAL_COLOUR = "#0072B2", "#E69F00", "#CC79A7"
"""Of Okabe and Ito's palette: told apart with any colour vision."""

WORST = -10.0
"""Where bars end that would reach farther; their figure says how far."""


def draw(table: pd.DataFrame, hardware: str, path: Path) -> None:
    """Write a PNG: a row of panels for each network, a panel for each setting, a bar for each side, and the goal."""
    quantized = table[table["setting"] != "FP32"]
    networks, settings = list(dict.fromkeys(quantized["network"])), list(dict.fromkeys(quantized["setting"]))
    figure = Figure(figsize=(5 * len(settings), 1 + 2.6 * len(networks)), layout="constrained")
    all_axes = figure.subplots(len(networks), len(settings), squeeze=False)
    for network, row in zip(networks, all_axes, strict=True):
        for setting, axes in zip(settings, row, strict=True):
            chosen = (quantized["network"] == network) & (quantized["setting"] == setting)
            axes.set_visible(bool(chosen.any()))
            axes.set_title(f"{network}, {setting}", fontsize=9, loc="left", fontweight="bold")
            _draw_panel(axes, quantized[chosen])
    figure.suptitle(
        f"Post-training quantization: top-1 less that of the FP32 network, in points\n{hardware}", fontsize=10
    )
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    for place, (_, row) in enumerate(rows.iterrows()):
        gap = row["gap_points"]
        axes.barh(place, max(gap, WORST), color=OURS_COLOUR if row["tool"] == "selectq" else PEER_COLOUR)
        axes.annotate(f"{gap:+.2f}", (max(gap, 0), place), (4, 0), textcoords="offset points", va="center", fontsize=7)
    for goal in rows["goal"].dropna().unique():
        axes.axvline(goal, color=GOAL_COLOUR, linewidth=1.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['tool']}: {row['method']}" for _, row in rows.iterrows()], fontsize=7)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
