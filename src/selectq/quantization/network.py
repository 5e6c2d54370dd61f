"""A network as integer hardware runs it: batch norms folded, activation functions fused, executed node by node.

One network serves every stage. In float its sites hold the activation functions, and weights are used unchanged.
Calibration puts observers into the sites; quantization puts quantizers there and before the weights; export stores
integers and puts in quantize and dequantize operators.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID, PIXEL_SCALE, PIXEL_ZERO_POINT, Normalization
from selectq.graph import nodes as graph_nodes
from selectq.graph.bounds import Bounds
from selectq.graph.nodes import PIXELS, Graph, Node

GATE_SLOPE, GATE_SHIFT = 1 / 6, 1 / 2
"""A hard-sigmoid is x / 6 + 1 / 2, clamped to [0, 1]."""

Watch = Callable[[nn.Module, Tensor], None]
"""Is shown a node's module, and what it put out: (N, C, H, W), or (N, C)."""


class FloatActivation(nn.Module):
    """The activation function itself, as a clamp."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape. Not by `clamp`, whose gradient takes a CPU twenty times as long."""
        ends = (self.bounds.low, self.bounds.high)
        if ends == (-float("inf"), float("inf")):
            return x
        return x.relu() if ends == (0, float("inf")) else F.hardtanh(x, *ends)


class Identity(nn.Module):
    """In place of a weight fake-quantizer: the float network uses a layer's parameters unchanged."""

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias, unchanged."""
        return weight, bias


class NodeModule(nn.Module):
    """Base of the modules that compute a node. Those that move values have no more than this.

    Attributes:
        node: what it is in the graph.
        stored: whether its output is stored as integers with a scale of its own.
    """

    stored = False

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    @property
    def name(self) -> str:
        """The FP32 module's name."""
        return self.node.name

    @property
    def kind(self) -> str:
        """The layer kind, or what else it is."""
        return self.node.kind

    @property
    def bounds(self) -> Bounds:
        """Of the activation function."""
        return self.node.bounds


class Site(NodeModule):
    """Base of the modules whose output is stored as integers.

    Attributes:
        activation: turns the raw output into the stored one: the activation function, an observer or a quantizer.
    """

    stored = True

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.activation: nn.Module = FloatActivation(node.bounds)


class ConvNode(Site):
    """Convolution, folded batch norm, activation: (N, I, H, W) -> (N, O, H', W').

    `sources` names the FP32 parameters that went into `weight` and into `bias`.
    """

    def __init__(self, node: Node, conv: nn.Conv2d, sources: dict[str, tuple[str, ...]]) -> None:
        super().__init__(node)
        self.weight = nn.Parameter(conv.weight.detach().clone())  # (O, I / groups, kH, kW)
        self.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))  # (O,)
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.sources = sources
        self.weight_quantizer: nn.Module = Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) -> (N, O, H', W')."""
        return self.activation(self.raw(x, *self.weight_quantizer(self.weight, self.bias)))

    def raw(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution alone, with other parameters."""
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)


class LinearNode(Site):
    """A fully connected layer: (N, I) -> (N, O). What gives the logits is not stored: it leaves the accumulators."""

    def __init__(self, node: Node, linear: nn.Linear, stored: bool) -> None:
        super().__init__(node)
        self.stored = stored
        self.weight = nn.Parameter(linear.weight.detach().clone())  # (O, I)
        bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach().clone()
        self.bias = nn.Parameter(bias)  # (O,)
        self.sources: dict[str, tuple[str, ...]] = {
            "weight": (f"{node.name}.weight",),
            "bias": () if linear.bias is None else (f"{node.name}.bias",),
        }
        self.weight_quantizer: nn.Module = Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        return self.activation(self.raw(x, *self.weight_quantizer(self.weight, self.bias)))

    def raw(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The products alone, with other parameters."""
        return F.linear(x, weight, bias)


Layer = ConvNode | LinearNode


class NormalizationNode(ConvNode):
    """Pixels to what the network takes for them: in integers a 1x1 convolution of each channel, in float nothing.

    The images that the network is given are normalised already; where it is quantized, their pixels are recovered.

    Attributes:
        recovers: whether it is given normalised images, and not pixels.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, node: Node, normalization: Normalization) -> None:
        super().__init__(node, nn.Conv2d(3, 3, 1, groups=3), {"weight": (), "bias": ()})
        self.recovers = True
        self.register_buffer("shift", torch.tensor(normalization.shift).view(3, 1, 1))
        self.register_buffer("factor", torch.tensor(normalization.scale).view(3, 1, 1))
        self.weight = nn.Parameter(self.factor.view(3, 1, 1, 1).clone(), requires_grad=False)
        self.bias = nn.Parameter(-(self.shift * self.factor).flatten(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape."""
        if isinstance(self.weight_quantizer, Identity):
            return self.activation(x)
        pixels = (x / self.factor + self.shift).round() if self.recovers else x
        return super().forward(pixels)


class Computation(Site):
    """Base of the sites without weights: `raw` computes, the activation stores."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The inputs of `raw` -> its output, stored."""
        return self.activation(self.raw(*inputs))

    def raw(self, *inputs: Tensor) -> Tensor:
        """The values before they are stored."""
        raise NotImplementedError


class AddNode(Computation):
    """The sum of two tensors of one shape."""

    def raw(self, *inputs: Tensor) -> Tensor:
        """Any shape, twice, to the same shape."""
        return inputs[0] + inputs[1]


class MulNode(Computation):
    """The product of two tensors; the second may be one number for each channel."""

    def raw(self, *inputs: Tensor) -> Tensor:
        """(N, C, H, W) and (N, C, 1, 1) or (N, C, H, W) -> (N, C, H, W)."""
        return inputs[0] * inputs[1]


class PoolNode(Computation):
    """The average over all positions or over windows. `area` is the number of values of an average, once it ran."""

    def __init__(self, node: Node, operation: graph_nodes.AveragePool) -> None:
        super().__init__(node)
        self.operation = operation
        self.area = 0

    def raw(self, *inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        (x,) = inputs
        kernel = self.operation.kernel or (x.shape[2], x.shape[3])
        self.area = kernel[0] * kernel[1]
        return F.avg_pool2d(x, kernel, self.operation.stride)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hard_swish": F.hardsigmoid,
    "silu": torch.sigmoid,
    "sigmoid": torch.sigmoid,
}
"""What a lookup computes, or the gate that its input is multiplied by."""


class LookupNode(Computation):
    """An elementwise function; `hard_swish` and `silu` multiply their input by a `gate`, which is quantized, too."""

    def __init__(self, node: Node, operation: graph_nodes.Lookup) -> None:
        super().__init__(node)
        self.function = operation.function
        self.multiplies = operation.function != "sigmoid"
        self.gate: nn.Module = nn.Identity()

    def raw(self, *inputs: Tensor) -> Tensor:
        """Any shape to the same shape."""
        (x,) = inputs
        y = FUNCTIONS[self.function](x)
        return x * self.gate(y) if self.multiplies else y


class MoveNode(NodeModule):
    """Puts out values that it read: maxima, slices, concatenations and other shapes."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """(N, C, H, W), perhaps several, -> (N, C', H', W') or (N, C)."""
        operation, x = self.node.operation, inputs[0]
        if isinstance(operation, graph_nodes.Concat):
            return torch.cat(inputs, 1)
        if isinstance(operation, graph_nodes.MaxPool):
            windows = (operation.kernel, operation.stride, operation.padding)
            return F.max_pool2d(x, *windows, ceil_mode=operation.ceil_mode)
        if isinstance(operation, graph_nodes.Slice):
            return x[:, operation.start : operation.stop]
        if isinstance(operation, graph_nodes.Shuffle):
            grouped = x.unflatten(1, (operation.groups, -1))  # (N, groups, C / groups, H, W)
            return grouped.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return x.flatten(1)


def execute(
    graph: Graph, name: str, given: Mapping[str, Tensor], compute: Callable[[Node, list[Tensor]], Tensor]
) -> Tensor:
    """What the node `name` puts out, from what some nodes before it put out.

    Args:
        graph: whose edges lead from `given` to `name`.
        name: of a node.
        given: node name -> output.
        compute: a node and its inputs -> its output.
    """
    nodes, values = _needed(graph, name, given.keys()), dict(given)
    last_reader = {source: node.name for node in nodes for source in node.inputs}
    for node in nodes:
        values[node.name] = compute(node, [values[source] for source in node.inputs])
        for source in set(node.inputs):
            if last_reader[source] == node.name:
                del values[source]  # memory is needed for the rest
    return values[name]


def _needed(graph: Graph, name: str, given: Collection[str]) -> list[Node]:
    """The nodes to compute for the node `name`, in order of execution."""
    needed, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each not in given and each not in needed:
            needed.add(each)
            waiting += graph[each].inputs
    return [node for node in graph.nodes if node.name in needed]


@dataclass(frozen=True)
class Block:
    """A block of the network: its nodes in order, and the nodes outside that it reads."""

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]

    @property
    def output(self) -> str:
        """The node that gives the block's output."""
        return self.nodes[-1]


class Network(nn.Module):
    """The whole network: normalised images (N, 3, H, W) -> logits (N, classes).

    Attributes:
        graph: its nodes and edges.
        normalization: how pixels become what the network is given.
        pixel_scale, pixel_zero_point: of pixels as integer codes.
    """

    def __init__(self, graph: Graph, modules: Iterable[NodeModule], normalization: Normalization) -> None:
        super().__init__()
        self.graph = graph
        self.normalization = normalization
        on_grid = normalization == INTEGER_GRID
        self.pixel_scale, self.pixel_zero_point = (PIXEL_SCALE, PIXEL_ZERO_POINT) if on_grid else (1.0, 0)
        self.parts = nn.ModuleDict({module.name.replace(".", "/"): module for module in modules})

    def __getitem__(self, name: str) -> Any:
        """The module of a node."""
        return self.parts[name.replace(".", "/")]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        return self.compute(self.graph.output.name, {PIXELS: x})

    def compute(self, name: str, given: Mapping[str, Tensor]) -> Tensor:
        """What the node `name` puts out, from what some nodes before it put out."""
        return execute(self.graph, name, given, lambda node, inputs: self[node.name](*inputs))

    def watched(self, x: Tensor, watch: Watch) -> Tensor:
        """The forward pass, in which `watch` is shown every node."""
        handles = [
            module.register_forward_hook(lambda module, inputs, output: watch(module, output))
            for module in self.parts.values()
        ]
        logits: Tensor = self(x)
        for handle in handles:
            handle.remove()
        return logits

    def layers(self) -> Iterator[Layer]:
        """The nodes with weights, in order of execution."""
        every = (module for module in self.parts.values() if isinstance(module, ConvNode | LinearNode))
        return (module for module in every if not isinstance(module, NormalizationNode))

    def normalizations(self) -> list[NormalizationNode]:
        """The node that normalises pixels; none where they are integer codes as they are."""
        return [module for module in self.parts.values() if isinstance(module, NormalizationNode)]

    def sites(self) -> Iterator[Site]:
        """Everything whose output is stored as integers, in order of execution."""
        return (module for module in self.parts.values() if isinstance(module, Site) and module.stored)

    def inputs(self) -> Iterator[tuple[Layer, Site | None]]:
        """Every layer, with the site whose stored output it reads; None for the pixels."""
        for layer in self.layers():
            yield layer, self.source(layer.node.inputs[0])

    def source(self, name: str) -> Site | None:
        """The site whose integer codes the node `name` puts out; None for the pixels."""
        origin = self.graph.origins(name)[0]
        return None if origin == PIXELS else self[origin]

    def classifier(self) -> LinearNode | None:
        """The layer that gives the logits, if it is a fully connected one."""
        module = self[self.graph.output.name]
        return module if isinstance(module, LinearNode) else None

    def blocks(self) -> list[Block]:
        """All blocks, in order of execution."""
        return [self._block(name) for name in dict.fromkeys(node.block for node in self.graph.nodes[1:])]

    def _block(self, name: str) -> Block:
        nodes = [node for node in self.graph.nodes if node.block == name]
        own = {node.name for node in nodes}
        outside = dict.fromkeys(source for node in nodes for source in node.inputs if source not in own)
        return Block(name, tuple(node.name for node in nodes), tuple(outside))
