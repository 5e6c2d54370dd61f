"""A plan for readers: the page, the command that prints it, and what is no plan."""

import json
from pathlib import Path

import made_up
import pytest

from selectq.cli.plan import run_plan
from selectq.errors import GOAL_MISSED, UserError
from selectq.report.plan import missed, plan_map, plan_markdown, plan_points, rungs_table
from selectq.statistics.schemas import PLAN_RUNGS


def written(folder: Path, met: bool = True) -> Path:
    file = folder / "plan.json"
    file.write_text(json.dumps(made_up.plan(met)))
    return file


def test_every_layer_and_everything_tried_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_plan(file=written(tmp_path))
    printed = capsys.readouterr().out
    assert printed == plan_markdown(made_up.plan())
    words = " ".join(printed.split())
    assert "Goal: at most 7 points below FP32 (90.00 %), shown at 95 % confidence on 200 validation images." in words
    assert "The goal is met by: 1 layer retrained. Measured gain of the retraining: +5.00 points." in words
    assert f"| {made_up.LAYER} | depthwise | 5.00 % | retrained | 0.99 | 2.50 |" in words
    assert "| channel | 0.00 % | 80.00 % | −10.00 [−11.00, −9.00] |" in words
    assert "qat:\n  planned:\n    scope: [features.14.conv.1.0]\n    weights: " in printed, (
        "in the order of params.yaml"
    )
    assert all(len(line) <= 110 for line in printed.splitlines())


def test_goal_that_is_missed_has_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_plan(file=written(tmp_path, met=False))
    assert ended.value.code == GOAL_MISSED == 3
    assert "Nothing that was tried meets the goal." in " ".join(capsys.readouterr().out.split())
    assert missed(made_up.plan(met=False)) == ["The goal of the plan: nothing that was tried meets the goal."]
    assert missed(made_up.plan()) == []


def test_layers_without_scores_have_no_gain_to_show() -> None:
    plan = made_up.plan()
    for layer in plan["layers"]:
        layer |= {"expected_gain": None, "backward_macs": None}
    assert "Expected gain" not in plan_markdown(plan) and plan_map(plan).empty


def test_row_that_is_chosen_is_marked() -> None:
    assert rungs_table(made_up.plan()).marked == 1


def test_curve_has_the_interval_of_every_treatment_and_what_is_needed() -> None:
    points = plan_points(made_up.plan())
    assert list(points.columns) == list(PLAN_RUNGS.columns)
    found = points[["method", "retrained_pct", "top1", "top1_low", "top1_high", "needed_top1"]].to_numpy().tolist()
    assert found == [["no training", 0, 80, 79, 81, 83], ["retrained", 5, 85, 84, 86, 83]]


def test_map_adds_up_the_layers_of_a_kind_at_a_depth() -> None:
    plan = made_up.plan()
    plan["layers"] += [{**plan["layers"][1], "depth": 0.79, "choice": "frozen"}, {**plan["layers"][1], "depth": 1.0}]
    found = plan_map(plan)[["layer_kind", "depth", "layers", "retrained"]].to_numpy().tolist()
    assert found == [["stem", 0, 1, 0], ["depthwise", 7, 2, 1], ["depthwise", 9, 1, 1]]
    assert plan_map(plan)["expected_gain"].tolist() == pytest.approx([0.25, 2 * 0.99, 0.99])


def test_what_is_no_plan_is_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    with pytest.raises(UserError, match=r"plan\.json: no plan yet; run `dvc repro plan`$"):
        run_plan(file=file)
    for content in ("[]", '{"goal": {}}'):
        file.write_text(content)
        with pytest.raises(UserError, match=r"plan\.json: holds no plan; run the stage plan$"):
            run_plan(file=file)
    file.write_text("{")
    with pytest.raises(UserError, match=r"plan\.json: cannot be read"):
        run_plan(file=file)
