"""The kind of each layer, told from the graph alone, so that a scope means the same in every network."""

from dataclasses import replace

from selectq.graph.bounds import UNBOUNDED
from selectq.graph.nodes import MOVES, PIXELS, Add, AveragePool, Conv, Graph, Input, Linear, Lookup, Mul, Node

OTHER_KINDS = {Input: "input", Add: "block", Mul: "product", AveragePool: "pool", Lookup: "lookup"}
OTHER_KINDS |= dict.fromkeys(MOVES, "move")
"""Of what is no layer; a `block` is a sum, as at the end of a residual block."""


def with_kinds(graph: Graph) -> Graph:
    """The graph, each node with its kind."""
    return Graph(tuple(replace(node, kind=_kind(graph, node)) for node in graph.nodes))


def _kind(graph: Graph, node: Node) -> str:
    return OTHER_KINDS.get(type(node.operation)) or _layer_kind(graph, node)


def _layer_kind(graph: Graph, node: Node) -> str:
    """See `selectq.config.configs.LAYER_KINDS`; the first that holds."""
    operation = node.operation
    kinds = {
        "classifier": node is [*graph.layers()][-1],
        "stem": graph.origins(node.inputs[0]) == (PIXELS,),
        "squeeze_excite": _is_gate(graph, node),
        "head": isinstance(operation, Linear) or _only_pool_follows(graph, node),
        "depthwise": isinstance(operation, Conv) and operation.depthwise,
        "dense": isinstance(operation, Conv) and not operation.pointwise,
    }
    return next((kind for kind, holds in kinds.items() if holds), "") or _pointwise_kind(graph, node)


def _pointwise_kind(graph: Graph, node: Node) -> str:
    readers = graph.real_readers(_activated(graph, node))
    if readers and all(isinstance(each.operation, Conv) and each.operation.groups > 1 for each in readers):
        return "expansion"
    linear = node.bounds == UNBOUNDED and _activated(graph, node) == node.name
    meets_sum = any(isinstance(each.operation, Add) for each in graph.real_readers(node.name))
    return "projection" if meets_sum or (linear and _reads_depthwise(graph, node)) else "pointwise"


def _activated(graph: Graph, node: Node) -> str:
    """The lookup behind a layer, if that alone reads it; else the layer."""
    readers = graph.readers[node.name]
    if len(readers) == 1 and isinstance(readers[0].operation, Lookup):
        return readers[0].name
    return node.name


def _reads_depthwise(graph: Graph, node: Node) -> bool:
    """Whether a depthwise convolution is the layer before, with at most an activation or squeeze-excite between."""
    source = graph[graph.origins(node.inputs[0])[0]]
    while isinstance(source.operation, Lookup | Mul):
        source = graph[graph.origins(source.inputs[0])[0]]
    return isinstance(source.operation, Conv) and source.operation.groups > 1


def _is_gate(graph: Graph, node: Node) -> bool:
    """Whether a layer computes on one number for each channel, which goes into a product."""
    source = node
    while not isinstance(source.operation, AveragePool):
        if len(source.inputs) != 1:
            return False
        source = graph[source.inputs[0]]
    return _leads_to_product(graph, node)


def _leads_to_product(graph: Graph, node: Node) -> bool:
    while True:
        readers = graph.readers[node.name]
        if len(readers) != 1:
            return False
        (node,) = readers
        if isinstance(node.operation, Mul):
            return True


def _only_pool_follows(graph: Graph, node: Node) -> bool:
    """Whether only the average over all positions, which the classifier reads, reads a layer."""
    readers = graph.real_readers(_activated(graph, node))
    averages = [each for each in readers if isinstance(each.operation, AveragePool) and each.operation.kernel is None]
    return len(readers) == 1 and bool(averages) and not _leads_to_product(graph, averages[0])
