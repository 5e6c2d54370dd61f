"""The losses of `bench_plan.py` as a picture."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from plan_choice import CASE, GAIN, ORACLE, PARAMETERS, RANDOM

from selectq.files import written_whole

LINES = {
    GAIN: ("#D55E00", "o-"),
    PARAMETERS: ("#0072B2", "s--"),
    RANDOM: ("#999999", "^:"),
    ORACLE: ("#000000", "x-"),
}
"""Selectors that are shown -> colour of Okabe and Ito's palette, and a line that is told apart without colour."""


def draw(table: pd.DataFrame, hardware: str, path: Path) -> None:
    """Write a PNG: a panel for each network and setting, test loss against the budget."""
    cases = list(table.groupby(CASE, sort=False))
    figure = Figure(figsize=(3.6 * max(2, (len(cases) + 1) // 2), 5.6), layout="constrained")
    all_axes = figure.subplots(2, (len(cases) + 1) // 2, squeeze=False)
    for axes in all_axes.flat[len(cases) :]:
        axes.set_axis_off()
    for ((network, setting), own), axes in zip(cases, all_axes.T.flat, strict=False):
        axes.set_title(f"{network}\n{setting}", fontsize=9, loc="left")
        for selector, (colour, line) in LINES.items():
            rows = own[own["selector"] == selector]
            axes.plot(rows["budget_pct"], rows["loss"], line, color=colour, label=selector, markersize=4, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_xticks(own["budget_pct"].unique(), [f"{budget:g}" for budget in own["budget_pct"].unique()])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "What selectors choose, retrained for half an epoch:\n"
        f"test loss in nats against the budget in percent of the parameters\n{hardware}",
        fontsize=9,
    )
    figure.legend(*all_axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=90)
