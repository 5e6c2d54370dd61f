"""From an FP32 network to the network of nodes: batch norms folded into the convolutions before them."""

import torch
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID, Normalization
from selectq.graph import nodes as graph_nodes
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph, Node
from selectq.networks.layers import folding_factor, running_statistics
from selectq.quantization.network import (
    GATE_SHIFT,
    GATE_SLOPE,
    AddNode,
    ConvNode,
    Layer,
    LinearNode,
    LookupNode,
    MoveNode,
    MulNode,
    Network,
    NodeModule,
    NormalizationNode,
    PoolNode,
)


def fold(model: nn.Module, graph: Graph | None = None, normalization: Normalization = INTEGER_GRID) -> Network:
    """The float form of an FP32 network; it computes what `model` computes in evaluation mode.

    Args:
        model: images (N, 3, H, W) -> logits (N, classes).
        graph: of the model, where it is at hand.
        normalization: of the images that the model takes.

    Raises:
        UserError: the graph cannot be captured.
    """
    graph, modules = graph or capture(model), dict(model.named_modules())
    if normalization == INTEGER_GRID:
        return Network(graph, [_module(graph, node, modules) for node in graph.nodes[1:]], normalization).eval()
    graph = graph.with_normalization()
    _, first, *others = graph.nodes
    computing = [NormalizationNode(first, normalization), *(_module(graph, node, modules) for node in others)]
    return Network(graph, computing, normalization).eval()


def _module(graph: Graph, node: Node, modules: dict[str, nn.Module]) -> NodeModule:
    """What computes a node."""
    match node.operation:
        case graph_nodes.Conv():
            module: NodeModule = _convolution(node, node.operation, modules)
        case graph_nodes.Linear():
            module = _linear(node, node.operation, modules, stored=node is not graph.output)
        case graph_nodes.Add():
            module = AddNode(node)
        case graph_nodes.Mul():
            module = MulNode(node)
        case graph_nodes.AveragePool():
            module = PoolNode(node, node.operation)
        case graph_nodes.Lookup():
            module = LookupNode(node, node.operation)
        case _:
            module = MoveNode(node)
    return module


def _linear(node: Node, operation: graph_nodes.Linear, modules: dict[str, nn.Module], stored: bool) -> LinearNode:
    linear = modules[operation.module]
    assert isinstance(linear, nn.Linear)
    layer = LinearNode(node, linear, stored)
    if operation.gate:
        _make_gate(layer)
    return layer


def _convolution(node: Node, operation: graph_nodes.Conv, modules: dict[str, nn.Module]) -> ConvNode:
    conv, norm = modules[operation.module], modules.get(operation.norm or "")
    assert isinstance(conv, nn.Conv2d)
    of_bias = [f"{operation.norm}.weight", f"{operation.norm}.bias"] if operation.norm else []
    of_bias += [f"{operation.module}.bias"] if conv.bias is not None else []
    layer = ConvNode(node, conv, {"weight": (f"{operation.module}.weight",), "bias": tuple(of_bias)})
    if isinstance(norm, nn.BatchNorm2d):
        fold_batch_norm(layer, norm, conv.bias)
    elif conv.bias is not None:
        layer.bias.data.copy_(conv.bias.detach())
    if operation.gate:
        _make_gate(layer)
    return layer


@torch.no_grad()
def fold_batch_norm(layer: ConvNode, norm: nn.BatchNorm2d, bias: Tensor | None) -> None:
    """Put the batch norm's evaluation-mode affine map into the convolution's weight and bias, in double precision.

    w' = w * gamma / sqrt(var + eps), b' = beta - (mean - b) * gamma / sqrt(var + eps) (Jacob et al. 2018, eq. 14).
    """
    factor, (running_mean, _) = folding_factor(norm), running_statistics(norm)  # (O,)
    mean = running_mean.double() - (0.0 if bias is None else bias.double())
    layer.weight.copy_(layer.weight.double() * factor[:, None, None, None])
    layer.bias.copy_(norm.bias.double() - mean * factor)


@torch.no_grad()
def _make_gate(layer: Layer) -> None:
    """Put the inside of a hard-sigmoid into the layer: its clamp to [0, 1] is all that is left."""
    layer.weight.mul_(GATE_SLOPE)
    layer.bias.mul_(GATE_SLOPE).add_(GATE_SHIFT)
