"""The layer kinds of a network's parameters, and its convolutions by name or kind."""

from collections.abc import Iterable

from torch import nn

from selectq.errors import UserError, with_closest
from selectq.graph.capture import capture
from selectq.graph.nodes import Conv, Graph, Linear

BATCH_NORM = "batchnorm"


def parameter_kinds(model: nn.Module, graph: Graph | None = None) -> dict[str, str]:
    """Parameter name -> layer kind (one of `selectq.config.configs.LAYER_KINDS`), in the order of the model.

    Parameters that the logits do not depend on, such as an auxiliary classifier's, have none.

    Args:
        model: images to logits.
        graph: of the model, where it is at hand.

    Raises:
        UserError: the graph cannot be captured.
    """
    kinds = dict[str, str]()
    for layer in (graph or capture(model)).layers():
        operation = layer.operation
        assert isinstance(operation, Conv | Linear)
        kinds[operation.module] = layer.kind
        if isinstance(operation, Conv) and operation.norm:
            kinds[operation.norm] = BATCH_NORM
    modules = {name: name.rpartition(".")[0] for name, _ in model.named_parameters()}
    return {name: kinds[module] for name, module in modules.items() if module in kinds}


def inspected_convolutions(graph: Graph, entries: Iterable[str]) -> tuple[str, ...]:
    """The convolutions that `drift.inspect` names, by module or by layer kind: of a kind, the middle one.

    Raises:
        UserError: an entry is neither; says which modules are called alike, and which kinds there are.
    """
    kinds = {layer.name: layer.kind for layer in graph.layers() if isinstance(layer.operation, Conv)}
    chosen = []
    for entry in entries:
        found = [entry] if entry in kinds else [name for name, kind in kinds.items() if kind == entry]
        if not found:
            allowed = f"modules, or one of {', '.join(dict.fromkeys(kinds.values()))}"
            raise UserError(
                f"drift.inspect: {entry!r} is no convolution{with_closest(entry, kinds)}; allowed: {allowed}"
            )
        chosen.append(found[len(found) // 2])
    return tuple(dict.fromkeys(chosen))
