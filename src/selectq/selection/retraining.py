"""Sets of layers to retrain: what each layer's share of a network is, and how a scope names a set."""

from collections.abc import Iterable, Mapping

import pandas as pd
from torch import nn

from selectq.config.configs import LAYER_KINDS
from selectq.errors import UserError
from selectq.graph.nodes import Conv, Graph, Linear
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.selection.allocation import choose_retrained

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


def require_layers(shares: Mapping[str, float], budgets: Iterable[float]) -> None:
    """Refuse budgets, in percent, that hold no layer.

    Raises:
        UserError: names the first, and the smallest that would hold one.
    """
    name, smallest = min(shares.items(), key=lambda share: share[1])
    for budget in budgets:
        if budget < smallest:
            raise UserError(
                f"--budgets: {budget:g} % of the parameters holds no layer; smallest possible: {smallest:.3g} ({name})"
            )


def chosen_scope(
    model: nn.Module, graph: Graph, scores: pd.DataFrame, budget: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers to retrain within a budget, and the scope that says so: the largest sum of gains.

    Args:
        model: the FP32 network.
        graph: of the model.
        scores: of `retraining_scores`.
        budget: percent of the parameters; from 100 on everything learns, batch norms too.
    """
    if budget >= 100:
        return tuple(scores["layer"]), ("all",)
    table = scores.assign(**{SHARE: scores["layer"].map(layer_shares(model, graph))})
    layers = choose_retrained(table, "gain", {SHARE: budget})
    return tuple(layers), scope_entries(model, graph, layers)
