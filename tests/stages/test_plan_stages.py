"""From scores to a plan to the network that it asks for: few bits, so that layers are retrained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace

from selectq.files import sha256
from selectq.networks.checkpoint import read_fp32
from selectq.quantization.network import Network
from selectq.quantization.quantized import read_quantized
from selectq.quantization.scopes import parameters_in_scope
from selectq.statistics.paired import Paired, score_interval

OWN = Path(__file__).with_name("own_network.py")
HARD: dict[str, Any] = {
    "model": {"network": "own_network.py:small", "network_sha256": sha256(OWN)},
    "range_skew": 0.0,
    "finetune": {"epochs": 10},
    "ptq": {"tensor": {"weights": {"bits": 2}, "activations": {"bits": 3}}},
    "statistics": {"confidence": 0.9},
    "plan": {"budgets_pct": [30, 100], "max_loss_points": 26.0, "epochs": 4, "lrs": [0.001, 0.005]},
}

LEFT_OVER = "metrics/validation/old.csv"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("planned")).write(HARD)
    shutil.copy(OWN, workspace.folder)
    workspace.run_all(("finetune_fp32",), ("ptq", "--name", "tensor"), ("sensitivity",))
    (workspace.folder / LEFT_OVER).write_text("of a configuration that is gone")
    workspace.run_all(("plan",), ("auto",))
    return workspace


def read(workspace: Workspace, name: str) -> Any:
    return json.loads((workspace.folder / name).read_text())


def network(workspace: Workspace, name: str) -> Network:
    return read_quantized(workspace.folder / f"models/quantized/{name}.safetensors").network


def test_what_is_made_is_what_was_measured(planned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planned.folder)
    plan, auto = read(planned, "results/plan.json"), read(planned, "metrics/simulated/auto.json")
    (chosen,) = [rung for rung in plan["rungs"] if rung["name"] == plan["chosen"]["name"]]
    assert chosen["retrained_pct"] > 0, "something is retrained"
    assert auto["validation_top1"] == chosen["top1"]
    assert 100 * auto["params_retrained"] / auto["parameters"] == pytest.approx(chosen["retrained_pct"], abs=1e-3)
    assert read(planned, "models/plan.json") == plan["configuration"]
    assert not (planned.folder / LEFT_OVER).exists()
    low, high = score_interval(Paired(12, 0, 0), HARD["statistics"]["confidence"])
    assert (chosen["gap_points"], chosen["gap_low"], chosen["gap_high"]) == pytest.approx((0, low, high), abs=1e-4)
    assert plan["rungs"][0]["top1"] == read(planned, "metrics/simulated/tensor.json")["validation_top1"]
    assert plan["rungs"][0]["name"] == "tensor" and plan["chosen"]["won_points"] > 50


def test_only_what_is_in_scope_differs_from_the_network_that_retraining_starts_from(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planned.folder)
    start, auto = network(planned, "tensor"), network(planned, "auto")
    entries = read(planned, "models/plan.json")["qat"]["planned"]["scope"]
    scope = parameters_in_scope(read_fp32(Path("models/fp32.safetensors")).model, entries)
    moved = {
        f"{one.name}.{part}"
        for one, other in zip(start.layers(), auto.layers(), strict=True)
        for part in ("weight", "bias")
        if not getattr(one, part).equal(getattr(other, part))
    }
    may_move = {
        f"{layer.name}.{part}"
        for layer in start.layers()
        for part in ("weight", "bias")
        if not scope.isdisjoint(layer.sources[part])
    }
    assert moved and moved <= may_move


def test_predictions_of_other_images_are_refused(planned: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(planned.folder, tmp_path / "copy"))
    file = workspace.folder / "metrics/validation/tensor.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    message = "tensor: predictions of 11 validation images, not 12; run the stage that writes it"
    assert workspace.failure("plan")[-1] == message


def test_goal_that_these_images_cannot_show_is_refused(planned: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(planned.folder, tmp_path / "copy"))
    workspace.write({**HARD, "plan": {**HARD["plan"], "max_loss_points": 10.0}})
    message = "plan.max_loss_points: 10 points cannot be shown on 12 validation images; 25 would do"
    assert workspace.failure("plan")[-1].startswith(message)


def test_budget_that_holds_no_layer_of_this_network_is_refused(planned: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(planned.folder, tmp_path / "copy"))
    workspace.write({**HARD, "plan": {**HARD["plan"], "budgets_pct": [0.01]}})
    assert "plan.budgets_pct: 0.01 % of the parameters holds no layer; smallest" in workspace.failure("plan")[-1]
