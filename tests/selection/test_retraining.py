"""Sets of layers to retrain: their shares, their names in a scope, and which one a budget gives."""

from itertools import combinations

import pandas as pd
import pytest
import torchvision
from small_networks import model_config
from torch import Tensor, nn

from selectq.config.configs import Goal
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.build import build_network
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.selection.retraining import alone_pct, chosen_scope, layer_shares, require_layers, scope_entries, share_pct


class Named(nn.Module):
    """Its layers are called as kinds are, and as something else."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.more, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.more(self.norm(self.projection(x)).relu()).mean((2, 3)))


def networks() -> list[nn.Module]:
    mobile = build_network(model_config(width_mult=1.0), 10)
    return [Named().eval(), mobile.eval(), torchvision.models.mobilenet_v3_small(num_classes=10).eval()]


@pytest.mark.parametrize("model", networks(), ids=lambda model: type(model).__name__)
def test_scope_of_a_layer_is_its_weight_and_its_own_bias(model: nn.Module) -> None:
    graph, known = capture(model), dict(model.named_parameters())
    for layer in graph.layers():
        name = layer.operation.module  # type: ignore[union-attr]
        own = {f"{name}.{part}" for part in ("weight", "bias")} & known.keys()
        assert parameters_in_scope(model, scope_entries(model, graph, [layer.name]), graph) == own


def test_layers_called_as_kinds_are_are_told_by_their_parameters() -> None:
    model = networks()[0]
    entries = scope_entries(model, capture(model), ["projection", "more", "head"])
    assert entries == ("projection.weight", "more", "head.weight", "head.bias")


def test_shares_are_of_all_parameters() -> None:
    model = networks()[0]
    every = 3 * 4 * 9 + 2 * 4 + 4 * 4 * 9 + 4 + 4 * 3 + 3
    expected = {"projection": 108, "more": 148, "head": 15}
    assert layer_shares(model, capture(model)) == pytest.approx({k: 100 * v / every for k, v in expected.items()})


def test_share_of_the_paper_s_layers() -> None:
    model = networks()[1]
    assert share_pct(model, capture(model), ["depthwise", "projection", "classifier"]) == pytest.approx(
        46.51, abs=0.005
    )


def goal(cost: str = "parameters", score: str = "gain") -> Goal:
    return Goal.from_mapping(
        {"max_loss_points": 1.0, "budgets_pct": [5.0], "cost": cost, "score": score, "epochs": 1, "lrs": [0.1]}, "plan"
    )


def scored(graph: Graph, best: str) -> pd.DataFrame:
    layers = [layer.name for layer in graph.layers()]
    return pd.DataFrame({"layer": layers, "gain": [100.0 if name == best else 1.0 for name in layers]})


def test_budget_is_kept_and_the_layer_of_most_gain_is_in_it() -> None:
    model = networks()[1]
    graph = capture(model)
    scores = scored(graph, "features.14.conv.2")
    for budget in (5.0, 25.0):
        layers, scope = chosen_scope(model, graph, scores, budget, goal())
        assert "features.14.conv.2" in layers and list(scope) == list(layers)
        assert share_pct(model, graph, scope) <= budget
        left = {name: share for name, share in layer_shares(model, graph).items() if name not in layers}
        assert share_pct(model, graph, scope) + min(left.values()) > budget, "room for one more"


def test_whole_budget_is_everything() -> None:
    model = networks()[1]
    graph = capture(model)
    layers, scope = chosen_scope(model, graph, scored(graph, ""), 100, goal())
    assert scope == ("all",) and layers == tuple(layer.name for layer in graph.layers())
    assert count_parameters(model, parameters_in_scope(model, scope)) == sum(p.numel() for p in model.parameters())


def test_budget_that_holds_no_layer_is_refused() -> None:
    shares = {"one": 12.346, "other": 50.0}
    require_layers(shares, [12.346, 100], "parameters")
    with pytest.raises(UserError) as refusal:
        require_layers(shares, [20, 12.3], "backward_macs")
    found = "plan.budgets_pct: 12.3 % of the backward macs holds no layer; smallest possible: 12.3 (one)"
    assert str(refusal.value) == found


def test_backward_pass_of_a_set_is_within_its_budget_and_no_better_set_is() -> None:
    """Gradients are handed down from the logits to the first layer that learns, and every layer adds its own."""
    model = networks()[0]
    graph, macs, gains = (
        capture(model),
        {"projection": 10, "more": 20, "head": 5},
        {"projection": 5, "more": 2, "head": 2},
    )
    names = list(macs)
    scores = pd.DataFrame({"layer": names, "macs": macs.values(), "gain": gains.values()})
    scores["backward_macs"] = [10 + 20 + 5, 20 + 5, 5]
    whole = 10 + 20 + 5 + 20 + 5

    def cost(chosen: tuple[str, ...]) -> float:
        return (
            100
            * sum([macs[name] for name in chosen] + [macs[name] for name in names[names.index(chosen[0]) + 1 :]])
            / whole
        )

    assert alone_pct(model, graph, scores, "backward_macs") == pytest.approx({name: cost((name,)) for name in names})
    sets = [chosen for size in (1, 2, 3) for chosen in combinations(names, size)]
    for budget in (9, 40, 42, 50, 59, 67, 99):
        layers, scope = chosen_scope(model, graph, scores, budget, goal("backward_macs"))
        within = [chosen for chosen in sets if cost(chosen) <= budget]
        best = max((sum(gains[name] for name in chosen) for chosen in within), default=0)
        assert sum(gains[name] for name in layers) == best and (layers in within or not layers)
        assert scope == scope_entries(model, graph, layers)
