"""`selectq plan`: the cheapest way to quantize that met the goal, layer by layer, and why no more was tried."""

import sys
from pathlib import Path

from selectq.cli.text import show
from selectq.errors import GOAL_MISSED, UserError
from selectq.report.plan import plan_markdown, read_plan


def run_plan(*, file: Path = Path("results/plan.json")) -> None:
    """Print a plan; exit status 3 where it does not reach its goal.

    Args:
        file (FILE): of the stage plan (default results/plan.json), or of `selectq quantize --retrain`

    Raises:
        UserError: there is no plan, or the file holds none.
    """
    if not file.exists():
        raise UserError(f"{file}: no plan yet; run `dvc repro plan`")
    plan = read_plan(file)
    show(plan_markdown(plan).splitlines())
    if not plan["met"]:
        sys.exit(GOAL_MISSED)
