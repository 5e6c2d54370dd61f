"""The layers that there are to choose among: a row for each, and what it costs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor

from selectq.graph.nodes import Graph
from selectq.quantization.network import Layer, Network

LAYER_COLUMNS = ["layer", "kind", "depth", "parameters", "macs", "backward_macs"]


@torch.no_grad()
def layer_table(network: Network, image: Tensor) -> pd.DataFrame:
    """A row for each layer with weights, in order of execution.

    Args:
        network: in any form.
        image: normalised, (1, 3, H, W).

    Returns:
        Columns layer, kind, depth (0 for the first, 1 for the last), parameters (weights, without the bias),
        macs (multiply-accumulates of one image; a weight's gradient takes as many), and backward_macs: of one image
        where this layer alone is retrained, its weight's gradient and those of all that reads it, as far as the logits.
    """
    macs: dict[str, int] = {}

    def count(layer: Layer, x: Tensor, y: Tensor) -> None:
        macs[layer.name] = layer.weight.numel() * y[0, 0].numel()

    with watched_layers(network, count):
        network(image)
    behind, layers = reached_from(network.graph), list(network.layers())
    rows = [
        (
            layer.name,
            layer.kind,
            index / max(1, len(layers) - 1),
            layer.weight.numel(),
            macs[layer.name],
            macs[layer.name] + sum(macs[name] for name in behind[layer.name] if name in macs),
        )
        for index, layer in enumerate(layers)
    ]
    return pd.DataFrame(rows, columns=LAYER_COLUMNS)


def reached_from(graph: Graph) -> dict[str, frozenset[str]]:
    """Node name -> the names of all nodes that compute with its output, directly or through others."""
    behind: dict[str, frozenset[str]] = {}
    for node in reversed(graph.nodes):
        readers = graph.readers[node.name]
        behind[node.name] = frozenset().union(*({reader.name} | behind[reader.name] for reader in readers))
    return behind


@contextmanager
def watched_layers(network: Network, watch: Callable[[Layer, Tensor, Tensor], None]) -> Iterator[None]:
    """Within it, every forward pass shows `watch` each layer with weights, what it reads and what it stores."""
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output: watch(layer, inputs[0], output))
        for layer in network.layers()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
