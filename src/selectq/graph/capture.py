"""From a PyTorch network to its graph: torch.fx's nodes become typed, batch norms and clamps join their layers."""

import operator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torchvision.models.shufflenetv2 import channel_shuffle
from torchvision.ops import StochasticDepth, stochastic_depth

from selectq.errors import UserError, first_line
from selectq.graph.blocks import block_of
from selectq.graph.bounds import HARD_SWISH_INPUT, RELU, RELU6, UNBOUNDED, UNIT, Bounds
from selectq.graph.kinds import with_kinds
from selectq.graph.nodes import (
    PIXELS,
    Add,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    Graph,
    Input,
    Linear,
    Lookup,
    MaxPool,
    Mul,
    Node,
    Operation,
    Shuffle,
    Slice,
)

CLAMPS: dict[object, Bounds] = {nn.ReLU: RELU, nn.ReLU6: RELU6, F.relu: RELU, F.relu6: RELU6, torch.relu: RELU}
CLAMPS |= {"relu": RELU, "relu_": RELU}
HARD_SIGMOIDS = (nn.Hardsigmoid, F.hardsigmoid)
LOOKUPS: dict[object, str] = {nn.Hardswish: "hard_swish", F.hardswish: "hard_swish", nn.SiLU: "silu", F.silu: "silu"}
LOOKUPS |= {nn.Sigmoid: "sigmoid", torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid", "sigmoid": "sigmoid"}
IDENTITIES = (nn.Dropout, nn.Dropout2d, nn.Identity, F.dropout, StochasticDepth, stochastic_depth, "contiguous")
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
SPLITS = (torch.chunk, torch.split, "chunk", "split")
FLATTENINGS = (nn.Flatten, torch.flatten, "flatten")
SPATIAL = ((2, 3), (-2, -1), (-1, -2), (3, 2))


class _Tracer(fx.Tracer):
    """Goes into every module but those that are one operation."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether `module` is one operation: torch's own, and subclasses of batch norm with their activation."""
        known = isinstance(module, nn.BatchNorm2d | StochasticDepth) or hasattr(module, "pool_type")
        return known or super().is_leaf_module(module, name)


def trace(model: nn.Module, *, training: bool) -> fx.Graph:
    """torch.fx's graph of a network as it computes in training or in evaluation mode.

    Raises:
        Exception: of many types, where torch.fx cannot follow, as on control flow that depends on values.
    """
    was_training = model.training
    model.train(training)
    try:
        return _Tracer(autowrap_functions=(channel_shuffle, stochastic_depth)).trace(model)
    finally:
        model.train(was_training)


def capture(model: nn.Module) -> Graph:
    """The graph of a network that maps images (N, 3, H, W) to logits (N, classes), as it computes in evaluation mode.

    Raises:
        UserError: torch.fx cannot follow the network, or an operation is unknown; names the module and its type.
    """
    try:
        traced = trace(model, training=False)
    except Exception as error:
        raise UserError(f"model.network: torch.fx cannot follow {type(model).__name__} ({first_line(error)})") from None
    builder = _Builder(model, traced)
    for node in traced.nodes:
        builder.read(node)
    return with_kinds(builder.graph())


class _Builder:
    """Makes typed nodes of fx's, one after another."""

    def __init__(self, model: nn.Module, traced: fx.Graph) -> None:
        self._modules = dict(model.named_modules())
        self._nodes: dict[str, Node] = {}
        self._name_of: dict[fx.Node, str] = {}  # what a node's value is called in our graph
        self._splits: dict[fx.Node, list[tuple[int, int]]] = {}
        self._sizes: set[fx.Node] = set()
        self._channels: dict[str, int] = {PIXELS: 3}  # of each node of ours
        self._count = {node: len(node.users) for node in traced.nodes}
        self._output = ""

    def graph(self) -> Graph:
        """What was read, without nodes that the output does not depend on, with blocks."""
        needed, waiting = set(), [self._output]
        while waiting:
            name = waiting.pop()
            needed.add(name)
            waiting += [source for source in self._nodes[name].inputs if source not in needed]
        kept = (node for name, node in self._nodes.items() if name in needed)
        return Graph(tuple(replace(node, block=block_of(node.name, self._modules)) for node in kept))

    def read(self, node: fx.Node) -> None:
        """Add what an fx node stands for."""
        if node.op == "placeholder":
            self._nodes[PIXELS] = Node(PIXELS, Input(), ())
            self._name_of[node] = PIXELS
        elif node.op == "output":
            self._output = self._source(node, node.args[0])
        elif self._asks_for_size(node):
            self._sizes.add(node)  # a number, which only a flattening may use
        else:
            self._compute(node)

    def _compute(self, node: fx.Node) -> None:
        """Find out what an operation is, by its module's type, its function or its method's name."""
        module = self._modules[str(node.target)] if node.op == "call_module" else None
        what: Any = type(module) if module is not None else node.target
        if isinstance(module, nn.Conv2d | nn.Linear):
            self._layer(node, module)
        elif isinstance(module, nn.BatchNorm2d):
            self._batch_norm(node, module)
        elif what in CLAMPS:
            self._clamp(node, CLAMPS[what])
        elif what in (torch.clamp, "clamp", nn.Hardtanh, F.hardtanh):
            self._clamp(node, _limits(node, module))
        elif what in HARD_SIGMOIDS:
            self._hard_sigmoid(node)
        elif what in LOOKUPS:
            self._lookup(node, LOOKUPS[what])
        elif what in IDENTITIES:
            self._name_of[node] = self._source(node, node.args[0])
        elif what in ADDITIONS or what in PRODUCTS:
            self._two(node, Add() if what in ADDITIONS else Mul())
        elif what in SPLITS:
            self._split(node)
        elif what is operator.getitem and node.args[0] in self._splits:
            self._part(node)
        elif what in (torch.cat, torch.concat):
            self._concat(node)
        else:
            self._reshape_or_pool(node, module, what)

    # --- layers and what is fused into them

    def _layer(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        name, source = str(node.target), self._source(node, node.args[0])
        if isinstance(module, nn.Linear):
            self._append(node, name, Linear(name), (source,), module.out_features)
            return
        plain_padding = isinstance(module.padding, tuple) and module.padding_mode == "zeros"
        if not plain_padding or tuple(module.dilation) != (1, 1) or type(module).forward is not nn.Conv2d.forward:
            raise self._refusal(node, "a convolution with dilation, or with padding other than so many zeros")
        operation = Conv(
            module=name,
            norm=None,
            depthwise=module.groups == module.in_channels == module.out_channels,
            pointwise=tuple(module.kernel_size) == (1, 1),
            groups=module.groups,
        )
        self._append(node, name, operation, (source,), module.out_channels)

    def _batch_norm(self, node: fx.Node, module: nn.BatchNorm2d) -> None:
        source = self._nodes[self._source(node, node.args[0])]
        if (
            not self._reads_alone(node)
            or not isinstance(source.operation, Conv)
            or source.operation.norm
            or source.bounds != UNBOUNDED
        ):
            raise self._refusal(node, "a batch norm that is not after a convolution of its own")
        if module.running_mean is None or not module.affine:
            raise self._refusal(node, "a batch norm without running statistics, weight and bias")
        self._replace(node, replace(source, operation=replace(source.operation, norm=str(node.target))))
        activation = getattr(module, "act", None)  # timm's batch norm holds its activation function
        if activation is not None and not isinstance(activation, nn.Identity):
            self._activate(node, activation)

    def _activate(self, node: fx.Node, activation: nn.Module) -> None:
        """Apply a module that fx did not see to what `node` stands for."""
        if type(activation) in CLAMPS:
            name = self._name_of[node]
            self._nodes[name] = replace(self._nodes[name], bounds=CLAMPS[type(activation)])
        elif type(activation) in LOOKUPS:
            source = self._name_of[node]
            self._append(node, f"{node.target}.act", Lookup(LOOKUPS[type(activation)]), (source,))
        else:
            raise self._refusal(node, f"the activation function {type(activation).__name__}")

    def _clamp(self, node: fx.Node, bounds: Bounds) -> None:
        source = self._nodes[self._source(node, node.args[0])]
        if bounds == source.bounds and source.bounds.low == 0.0:
            self._name_of[node] = source.name  # a ReLU of a ReLU
            return
        clamped = self._behind_moves(source)
        stores = isinstance(clamped.operation, Conv | Linear | Add | Mul | AveragePool)
        alone = self._reads_alone(node) and (clamped is source or self._has_one_reader(clamped))
        if not alone:
            raise self._refusal(node, f"a clamp of {clamped.name}, which something else reads unclamped")
        if not stores or clamped.bounds != UNBOUNDED or bounds.low not in (0.0, -3.0):
            raise self._refusal(node, "a clamp that is not after a layer, a sum or a product of its own")
        self._nodes[clamped.name] = replace(clamped, bounds=bounds)
        self._name_of[node] = source.name

    def _behind_moves(self, node: Node) -> Node:
        """The node whose values a max pool or a change of shape moves: clamped before or after, they are the same."""
        while isinstance(node.operation, MaxPool | Shuffle | Flatten):
            before = self._nodes[node.inputs[0]]
            if not self._has_one_reader(before):
                break
            node = before
        return node

    def _has_one_reader(self, node: Node) -> bool:
        return all(self._count[each] == 1 for each, name in self._name_of.items() if name == node.name)

    def _hard_sigmoid(self, node: fx.Node) -> None:
        """x / 6 + 1 / 2 goes into the layer before, its clamp to [0, 1] is the layer's."""
        source = self._nodes[self._source(node, node.args[0])]
        if not source.is_layer or source.bounds != UNBOUNDED or not self._reads_alone(node):
            raise self._refusal(node, "a hard-sigmoid that is not after a layer of its own")
        assert isinstance(source.operation, Conv | Linear)
        self._replace(node, replace(source, operation=replace(source.operation, gate=True), bounds=UNIT))

    def _lookup(self, node: fx.Node, function: str) -> None:
        source = self._nodes[self._source(node, node.args[0])]
        clampable = source.bounds == UNBOUNDED and not isinstance(source.operation, Flatten)
        if function == "hard_swish" and self._reads_alone(node) and clampable:
            self._nodes[source.name] = replace(source, bounds=HARD_SWISH_INPUT)
        self._append(node, self._path(node), Lookup(function), (source.name,))

    # --- several tensors

    def _two(self, node: fx.Node, operation: Operation) -> None:
        if not all(isinstance(argument, fx.Node) for argument in node.args[:2]):
            raise self._refusal(node, "a sum or product with a number")
        one, other = (self._source(node, argument) for argument in node.args[:2])
        if isinstance(operation, Mul) and self._is_gate(one):
            one, other = other, one
        self._append(node, self._path(node), operation, (one, other))

    def _is_gate(self, name: str) -> bool:
        """Whether a tensor is one number for each channel."""
        node = self._nodes[name]
        while node.inputs and not (isinstance(node.operation, AveragePool) and node.operation.kernel is None):
            if len(node.inputs) > 1:
                return False
            node = self._nodes[node.inputs[0]]
        return isinstance(node.operation, AveragePool)

    def _split(self, node: fx.Node) -> None:
        source = self._source(node, node.args[0])
        size, dimension = _argument(node, 1, "chunks"), _argument(node, 2, "dim", 0)
        if dimension != 1:
            raise self._refusal(node, "a split of another dimension than the channels")
        channels = self._channels[source]
        if node.target in (torch.chunk, "chunk"):
            size = -(-channels // size)
        sizes = size if isinstance(size, list | tuple) else [size] * (channels // size) + [channels % size]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self._splits[node] = [(start, start + width) for start, width in zip(starts, sizes, strict=True) if width]
        self._name_of[node] = source

    def _part(self, node: fx.Node) -> None:
        split, index = _argument(node, 0, "split"), _argument(node, 1, "index")
        start, stop = self._splits[split][index]
        self._append(node, self._path(node), Slice(start, stop), (self._name_of[split],), stop - start)

    def _concat(self, node: fx.Node) -> None:
        parts, dimension = _argument(node, 0, "tensors"), _argument(node, 1, "dim", 0)
        if dimension != 1:
            raise self._refusal(node, "a concatenation of another dimension than the channels")
        names = tuple(self._source(node, part) for part in parts)
        self._append(node, self._path(node), Concat(), names, sum(self._channels[name] for name in names))

    # --- shapes and pools

    def _reshape_or_pool(self, node: fx.Node, module: nn.Module | None, what: Any) -> None:
        source = self._source(node, node.args[0]) if node.args else ""
        if what in FLATTENINGS or (what in ("view", "reshape") and _keeps_first(node)):
            self._append(node, self._path(node), Flatten(), (source,))
        elif what is channel_shuffle or isinstance(module, nn.ChannelShuffle):
            groups = module.groups if isinstance(module, nn.ChannelShuffle) else _argument(node, 1, "groups")
            self._append(node, self._path(node), Shuffle(groups), (source,))
        elif _is_global_average(node, module, what):
            self._append(node, self._path(node), AveragePool(None, None), (source,))
            if _flattens(node, module, what):
                pool = self._name_of[node]
                self._append(node, f"{pool}.flatten", Flatten(), (pool,))
        elif windows := _max_pool(node, module, what):
            self._append(node, self._path(node), windows, (source,))
        elif averages := _average_pool(node, module, what):
            self._append(node, self._path(node), averages, (source,))
        else:
            raise self._refusal(node, "which is no operation that selectq knows")

    # --- helpers

    def _append(
        self, node: fx.Node, name: str, operation: Operation, inputs: tuple[str, ...], channels: int | None = None
    ) -> None:
        unique, number = name, 1
        while unique in self._nodes:
            unique, number = f"{name}.{number}", number + 1
        self._nodes[unique] = Node(unique, operation, inputs)
        self._channels[unique] = channels if channels is not None else self._channels[inputs[0]]
        self._name_of[node] = unique

    def _replace(self, node: fx.Node, changed: Node) -> None:
        self._nodes[changed.name] = changed
        self._name_of[node] = changed.name

    def _reads_alone(self, node: fx.Node) -> bool:
        """Whether `node` alone reads what it reads."""
        (read,) = (argument for argument in node.args[:1] if isinstance(argument, fx.Node))
        return self._count[read] == 1

    def _asks_for_size(self, node: fx.Node) -> bool:
        asks = node.target == "size" or (node.target is getattr and node.args[1] == "shape")
        return bool(asks or (bool(node.args) and node.args[0] in self._sizes))

    def _source(self, node: fx.Node, argument: Any) -> str:
        if not isinstance(argument, fx.Node) or argument not in self._name_of:
            raise self._refusal(node, "which reads something else than a tensor of images")
        return self._name_of[argument]

    def _path(self, node: fx.Node) -> str:
        """The module itself, or the module that calls the function."""
        if node.op == "call_module":
            return str(node.target)
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]) if stack else ""
        return path or str(node.name).replace("adaptive_avg_pool2d", "pool")

    def _refusal(self, node: fx.Node, why: str) -> UserError:
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        kind = type(module).__name__ if module is not None else getattr(node.target, "__name__", str(node.target))
        return UserError(f"model.network: {self._path(node)} ({kind}): {why}")


def _limits(node: fx.Node, module: nn.Module | None) -> Bounds:
    if isinstance(module, nn.Hardtanh):
        return Bounds(module.min_val, module.max_val)
    low, high = _argument(node, 1, "min"), _argument(node, 2, "max")
    return Bounds(UNBOUNDED.low if low is None else float(low), UNBOUNDED.high if high is None else float(high))


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of an fx node, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _keeps_first(node: fx.Node) -> bool:
    """Whether a view is (N, everything else)."""
    return len(node.args) == 3 and bool(node.args[2] == -1)


def _is_global_average(node: fx.Node, module: nn.Module | None, what: Any) -> bool:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return _pair(module.output_size) == (1, 1)
    if getattr(module, "pool_type", None) == "avg":  # timm's
        return True
    if what is F.adaptive_avg_pool2d:
        return _pair(_argument(node, 1, "output_size")) == (1, 1)
    if what in (torch.mean, "mean"):
        dimensions = _argument(node, 1, "dim")
        return isinstance(dimensions, list | tuple) and tuple(dimensions) in SPATIAL
    return False


def _windows(node: fx.Node) -> tuple[Any, Any, Any]:
    """Kernel, stride and padding of a pooling function's call."""
    return _argument(node, 1, "kernel_size"), _argument(node, 2, "stride"), _argument(node, 3, "padding", 0)


def _max_pool(node: fx.Node, module: nn.Module | None, what: Any) -> MaxPool | None:
    if isinstance(module, nn.MaxPool2d):
        kernel, stride, padding = module.kernel_size, module.stride, module.padding
        dilation, ceil_mode = module.dilation, module.ceil_mode
    elif what in (F.max_pool2d, torch.max_pool2d):
        kernel, stride, padding = _windows(node)
        dilation, ceil_mode = _argument(node, 4, "dilation", 1), _argument(node, 5, "ceil_mode", False)
    else:
        return None
    if _pair(dilation) != (1, 1):
        return None
    return MaxPool(_pair(kernel), _pair(stride or kernel), _pair(padding or 0), ceil_mode)


def _average_pool(node: fx.Node, module: nn.Module | None, what: Any) -> AveragePool | None:
    """Over windows that lie within the image, whose averages all are of as many values."""
    if isinstance(module, nn.AvgPool2d):
        kernel, stride, padding, ceil_mode = module.kernel_size, module.stride, module.padding, module.ceil_mode
    elif what is F.avg_pool2d:
        kernel, stride, padding = _windows(node)
        ceil_mode = _argument(node, 4, "ceil_mode", False)
    else:
        return None
    if any(_pair(padding or 0)) or ceil_mode:
        return None
    return AveragePool(_pair(kernel), _pair(stride or kernel))


def _flattens(node: fx.Node, module: nn.Module | None, what: Any) -> bool:
    """Whether a global average leaves out the positions altogether: (N, C)."""
    if what in (torch.mean, "mean"):
        return not _argument(node, 2, "keepdim", False)
    return isinstance(getattr(module, "flatten", None), nn.Flatten)


def _pair(value: Any) -> tuple[int, int]:
    one, other = value if isinstance(value, list | tuple) else (value, value)
    return one, other
