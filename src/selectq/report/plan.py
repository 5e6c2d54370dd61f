"""A plan for readers: its page, which a terminal shows as well, and its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selectq.config.load import write_yaml
from selectq.config.planned import Planned
from selectq.errors import UserError
from selectq.files import read_json
from selectq.report.formatting import Table, number_columns, percent, points_within, text_columns
from selectq.report.markdown import bullet, code, markdown_table, prose
from selectq.statistics.schemas import PLAN_LAYERS, PLAN_RUNGS

PLAN = Path("results/plan.json")
PARTS = {"chosen", "configuration", "fp32_top1", "goal", "layers", "met", "reason", "rungs", "validation_images"}
CONFIGURATION_WIDTH = 56
"""Characters of a line; the last entry may stand out."""

GAIN = (
    "Expected gain: what a natural-gradient step on the layer alone takes from KL(FP32 ‖ quantized), by a diagonal"
    " second-order model that promises more than there is. Layers chosen for it did no better than random ones of"
    " equal cost (`make bench-plan`)."
)
CHOSEN_FOR_IT = (
    "The gap of what was chosen is a little too good: it was chosen for it. The test images tell more. One seed."
)

Content = Mapping[str, Any]
"""A plan, as `selectq.selection.plan` makes it."""


def read_plan(path: Path = PLAN) -> dict[str, Any]:
    """A plan that was written.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or PARTS - content.keys():
        raise UserError(f"{path}: holds no plan; run the stage plan")
    return content


def rungs_table(plan: Content) -> Table:
    """Everything that was tried."""
    rows = [
        (
            rung["name"],
            percent(rung["retrained_pct"], 2),
            percent(rung["top1"], 2),
            points_within(rung["gap_points"], rung["gap_low"], rung["gap_high"]),
        )
        for rung in plan["rungs"]
    ]
    marked = next(index for index, rung in enumerate(plan["rungs"]) if rung["name"] == plan["chosen"]["name"])
    columns = (*text_columns("Tried"), *number_columns("Retrained", "Top-1", "Gap, points"))
    return Table("What was tried", columns, tuple(rows), marked=marked)


def layers_table(plan: Content) -> Table:
    """Every layer: what retraining it costs, and whether it is."""
    scored = any(layer["expected_gain"] is not None for layer in plan["layers"])
    rows = [
        (
            layer["layer"],
            layer["kind"],
            percent(layer["share_pct"], 2),
            layer["choice"],
            *((f"{layer['expected_gain']:.3g}", f"{layer['backward_macs'] / 1e6:,.2f}") if scored else ()),
        )
        for layer in plan["layers"]
    ]
    costs = number_columns("Expected gain", "Backward MACs, million") if scored else []
    columns = (*text_columns("Layer", "Kind"), *number_columns("Share"), *text_columns("Choice"), *costs)
    return Table("Layers", columns, tuple(rows))


def summary_of(plan: Content) -> str:
    """Goal, end and gain in words."""
    goal, won = plan["goal"], plan["chosen"]["won_points"]
    gained = "" if won is None else f" Measured gain of the retraining: {won:+.2f} points."
    return (
        f"Goal: at most {goal['max_loss_points']:g} points below FP32 ({plan['fp32_top1']:.2f} %), shown at"
        f" {100 * goal['confidence']:g} % confidence on {plan['validation_images']:,} validation images."
        f" {plan['reason'][0].upper()}{plan['reason'][1:]}.{gained}"
    )


def missed(plan: Content) -> list[str]:
    """What was not shown: nothing where the goal is met."""
    return [] if plan["met"] else [f"The goal of the plan: {plan['reason']}."]


def configuration_lines(planned: Planned) -> list[str]:
    """What is to be done, as lines of params.yaml."""
    return write_yaml(planned.entries(), default_flow_style=None, width=CONFIGURATION_WIDTH).splitlines()


def plan_markdown(plan: Content) -> str:
    """The whole of it, aligned for a terminal."""
    tables = [markdown_table(table.columns, table.rows) for table in (rungs_table(plan), layers_table(plan))]
    scored = [*bullet(GAIN)] if plan["layers"][0]["expected_gain"] is not None else []
    lines = ["# The plan", "", *prose(summary_of(plan)), "", *tables[0], "", *tables[1], "", *scored]
    return "\n".join(
        [*lines, *bullet(CHOSEN_FOR_IT), "", *code("yaml", configuration_lines(Planned.of(plan["configuration"]))), ""]
    )


def plan_points(plan: Content) -> pd.DataFrame:
    """The curve: accuracy against the share that is retrained, of everything that was tried."""
    return PLAN_RUNGS.frame(
        {
            **rung,
            "treatment": rung["name"],
            "method": "retrained" if rung["retrained_pct"] else "no training",
            "fp32_top1": plan["fp32_top1"],
            "top1_low": plan["fp32_top1"] + rung["gap_low"],
            "top1_high": plan["fp32_top1"] + rung["gap_high"],
            "needed_top1": plan["fp32_top1"] - plan["goal"]["max_loss_points"],
        }
        for rung in plan["rungs"]
    )


def plan_map(plan: Content) -> pd.DataFrame:
    """The expected gain by kind and depth; nothing where layers were not scored."""
    layers = [layer for layer in plan["layers"] if layer["expected_gain"] is not None]
    table = PLAN_LAYERS.frame({**layer, "layer_kind": layer["kind"], "layers": 1, "retrained": 0} for layer in layers)
    table = table.assign(
        depth=(table["depth"] * DEPTHS).astype(int).clip(upper=DEPTHS - 1),
        retrained=[int(layer["choice"] == "retrained") for layer in layers],
    )
    return table.groupby(["layer_kind", "depth"], as_index=False, sort=False).sum()


DEPTHS = 10
"""Parts into which a network is cut for a map."""
