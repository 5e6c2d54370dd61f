"""The layer kinds of a network's parameters."""

from torch import nn

from selectq.graph.capture import capture
from selectq.graph.nodes import Conv, Graph, Linear

BATCH_NORM = "batchnorm"


def parameter_kinds(model: nn.Module, graph: Graph | None = None) -> dict[str, str]:
    """Parameter name -> layer kind (one of `selectq.params.configs.LAYER_KINDS`), in the order of the model.

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
