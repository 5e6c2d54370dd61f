"""Sets of layers to retrain: what each layer's share of a network is, and how a scope names a set."""

from collections.abc import Iterable, Mapping

import pandas as pd
from torch import nn

from selectq.config.configs import LAYER_KINDS, Cost, Goal
from selectq.errors import UserError
from selectq.graph.nodes import Conv, Graph, Linear
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.selection.allocation import choose_retrained
from selectq.selection.layers import reached_from

SHARE = "retrained_pct"


def scope_entries(model: nn.Module, graph: Graph, layers: Iterable[str]) -> tuple[str, ...]:
    """The entries of a scope that lets these layers learn, and nothing else: weights, and biases of their own.

    Modules by name; the parameters of one that is called as a kind is, which a scope would take for the kind.
    """
    entries: list[str] = []
    for layer in layers:
        operation = graph[layer].operation
        assert isinstance(operation, Conv | Linear)
        module = operation.module
        own = [f"{module}.{name}" for name, _ in model.get_submodule(module).named_parameters()]
        entries += own if module in (*LAYER_KINDS, "all") else [module]
    return tuple(entries)


def share_pct(model: nn.Module, graph: Graph, scope: Iterable[str]) -> float:
    """How many percent of the FP32 network's parameters a scope lets learn."""
    every = sum(parameter.numel() for parameter in model.parameters())
    return 100 * count_parameters(model, parameters_in_scope(model, scope, graph)) / every


def layer_shares(model: nn.Module, graph: Graph) -> dict[str, float]:
    """Layer -> what retraining it alone is of the FP32 network's parameters, in percent; in order of execution."""
    return {node.name: share_pct(model, graph, scope_entries(model, graph, [node.name])) for node in graph.layers()}


def alone_pct(model: nn.Module, graph: Graph, scores: pd.DataFrame, cost: Cost) -> dict[str, float]:
    """Layer -> what retraining it alone costs, in percent of retraining everything.

    `scores` are those of `retraining_scores`, or of `layer_table`.
    """
    if cost == "parameters":
        return layer_shares(model, graph)
    whole = _backward_macs(scores)
    return {row["layer"]: 100 * row["backward_macs"] / whole for row in scores.to_dict("records")}


def _backward_macs(scores: pd.DataFrame) -> int:
    """Of one image where every layer learns: each weight's gradient, and what each layer hands on to those below."""
    return int(2 * scores["macs"].sum() - scores["macs"].iloc[0])


def require_layers(alone: Mapping[str, float], budgets: Iterable[float], cost: Cost) -> None:
    """Refuse budgets, in percent, that hold no layer; `alone` is what each costs alone.

    Raises:
        UserError: names the first, and the smallest that would hold one.
    """
    name, smallest = min(alone.items(), key=lambda share: share[1])
    for budget in budgets:
        if budget < smallest:
            raise UserError(
                f"plan.budgets_pct: {budget:g} % of the {cost.replace('_', ' ')} holds no layer; smallest possible:"
                f" {smallest:.3g} ({name})"
            )


def chosen_scope(
    model: nn.Module, graph: Graph, scores: pd.DataFrame, budget: float, goal: Goal
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers to retrain within a budget, and the scope that says so: the largest sum of scores.

    Args:
        model: the FP32 network.
        graph: of the model.
        scores: of `retraining_scores`.
        budget: percent of the cost; from 100 on everything learns, batch norms too.
        goal: says what counts as the cost, and by which score layers are chosen.
    """
    if budget >= 100:
        return tuple(scores["layer"]), ("all",)
    if goal.cost == "parameters":
        table = scores.assign(**{SHARE: scores["layer"].map(layer_shares(model, graph))})
        layers = choose_retrained(table, goal.score, {SHARE: budget})
    else:
        layers = _chosen_by_macs(graph, scores, budget, goal.score)
    return tuple(layers), scope_entries(model, graph, layers)


def _chosen_by_macs(graph: Graph, scores: pd.DataFrame, budget: float, score: str) -> list[str]:
    """Gradients go down to the first layer that learns: for each layer as the first, the best set; of these the best.

    What a set costs is then a sum: what lies behind that first layer, and each weight's own gradient.
    """
    macs, won = (scores.set_index("layer")[column] for column in ("macs", score))
    behind, sets = reached_from(graph), list[list[str]]()
    for first in range(len(scores)):
        table = scores.iloc[first:]
        passed = macs.index.intersection(list(frozenset().union(*(behind[name] for name in table["layer"]))))
        left = budget / 100 * _backward_macs(scores) - macs[passed].sum()
        if (table["macs"] <= left).any():
            sets.append(choose_retrained(table, score, {"macs": left}))
    return max(sets, key=lambda layers: won[layers].sum(), default=[])
