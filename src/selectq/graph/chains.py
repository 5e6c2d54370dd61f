"""Chains of layers between which a channel's scale is free: what one layer multiplies, the next one undoes."""

from collections import Counter

from selectq.graph.nodes import Conv, Graph, Linear, MaxPool, Node

FIXED = ("stem", "projection")
"""Kinds whose outputs keep their scale. In MobileNetV2 most of them meet in sums; those that do not are left alone,
too: its published figures are of blocks that were rescaled inside."""

Chain = tuple[Node, ...]
"""Layers, each of which alone reads the one before; all between the first and the last are depthwise convolutions."""


def chains(graph: Graph) -> list[Chain]:
    """All chains, as long as they get, in the order of their first layers.

    A layer alone reads the one before where nothing is between them but an activation function f with f(s x) = s f(x)
    and max pools. Only depthwise convolutions continue a chain: there a channel is one channel. Another layer ends one,
    and may begin the next, so two chains may share a layer.
    """
    following = _links(graph)
    continued = {layer.name for layer in following.values() if _is_depthwise(layer)}
    firsts = [layer for layer in graph.layers() if layer.name in following and layer.name not in continued]
    return [_from(layer, following) for layer in firsts]


def _from(first: Node, following: dict[str, Node]) -> Chain:
    chain = [first, following[first.name]]
    while _is_depthwise(chain[-1]) and chain[-1].name in following:
        chain.append(following[chain[-1].name])
    return tuple(chain)


def _links(graph: Graph) -> dict[str, Node]:
    """Layer name -> the layer behind it. A module that is called twice is in none: its weights serve two places."""
    calls = Counter(_module(layer) for layer in graph.layers())
    links = {layer.name: (layer, _next(graph, layer)) for layer in graph.layers()}
    return {
        name: after
        for name, (layer, after) in links.items()
        if after is not None and calls[_module(layer)] == 1 == calls[_module(after)]
    }


def _next(graph: Graph, layer: Node) -> Node | None:
    """The layer that alone reads what another puts out, whose scale is free; None if there is none."""
    if not layer.bounds.keeps_scaling or layer.kind in FIXED:
        return None
    node = layer
    while len(graph.readers[node.name]) == 1:
        (node,) = graph.readers[node.name]
        if node.is_layer:
            return node
        if not isinstance(node.operation, MaxPool):
            return None
    return None


def _module(layer: Node) -> str:
    assert isinstance(layer.operation, Conv | Linear)
    return layer.operation.module


def _is_depthwise(layer: Node) -> bool:
    return isinstance(layer.operation, Conv) and layer.operation.depthwise
