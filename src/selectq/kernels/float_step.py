"""The FP32 network's forward pass in training, by kernels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from selectq.graph.bounds import UNBOUNDED, Bounds
from selectq.graph.capture import CLAMPS, trace
from selectq.kernels.batch_normed import NormalisedLayer, NormalisedPair, NormalisedRows
from selectq.kernels.convolutions import Geometry, geometry_of


class FloatStep:
    """A network's forward pass in training mode, running statistics included, on the CPU.

    Convolutions with batch norm, and the clamp behind, are computed by kernels, everything else by the network's own
    modules and functions. Needs the kernels in `SOURCES`.
    """

    SOURCES = ("batch_norm.cpp", "common.hpp")

    def __init__(self, model: nn.Module) -> None:
        """Of a network that this `serves`."""
        self._step = fx.GraphModule(model, trace(model, training=True))
        for index, (layers, fused) in enumerate(_fused(list(_layers(self._step)))):
            _replace(self._step, layers, f"kernel_{index}", fused)
        self._step.recompile()

    @staticmethod
    def serves(model: nn.Module) -> bool:
        """Whether there is something for the kernels in a network that torch.fx can follow as it trains."""
        return any(_layers(fx.GraphModule(model, trace(model, training=True))))

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> logits (N, classes)."""
        logits: Tensor = self._step(images.contiguous(memory_format=torch.channels_last))
        return logits


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution, its batch norm and its activation function, which nothing else reads in between."""

    nodes: tuple[fx.Node, ...]
    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    bounds: Bounds
    geometry: Geometry

    @property
    def affine(self) -> tuple[Tensor, Tensor, Tensor]:
        """What learns."""
        return self.conv.weight, self.norm.weight, self.norm.bias


def _layers(step: fx.GraphModule) -> Iterator[_Layer]:
    """In order of execution."""
    modules = {node: step.get_submodule(str(node.target)) for node in step.graph.nodes if node.op == "call_module"}
    for node, conv in modules.items():
        behind = _only_reader(node)
        norm = modules.get(behind) if behind is not None else None
        if behind is None or type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
            continue
        if _is_plain(conv, norm):
            clamp = _only_reader(behind)
            bounds = None if clamp is None else CLAMPS.get(type(modules[clamp]) if clamp in modules else clamp.target)
            nodes = (node, behind) if clamp is None or bounds is None else (node, behind, clamp)
            yield _Layer(nodes, conv, norm, bounds or UNBOUNDED, geometry_of(conv))


def _only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 else None


def _is_plain(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether there is nothing about them but what the kernels compute."""
    padded = isinstance(conv.padding, tuple) and conv.padding_mode == "zeros"
    tracks = norm.affine and norm.track_running_stats and norm.momentum is not None
    return padded and tracks and conv.bias is None and tuple(conv.dilation) == (1, 1)


def _fused(layers: list[_Layer]) -> Iterator[tuple[list[_Layer], nn.Module]]:
    """The layers that are computed together, and by what."""
    reading = {layer.nodes[0].args[0]: layer for layer in layers}
    done = set[_Layer]()
    for layer in layers:
        if layer in done:
            continue
        behind = reading.get(layer.nodes[-1])
        if behind is not None and _only_reader(layer.nodes[-1]) is not None and _is_pair(layer, behind):
            done.add(behind)
            yield [layer, behind], _PairByKernel(layer, behind)
        else:
            yield [layer], _ByKernel(layer)


def _is_pair(first: _Layer, second: _Layer) -> bool:
    """Whether a pointwise convolution stands before a depthwise one, both with kernels."""
    both = first.geometry.has_kernel and second.geometry.has_kernel
    return both and first.geometry.groups == 1 and second.geometry.groups > 1


def _replace(step: fx.GraphModule, layers: list[_Layer], name: str, module: nn.Module) -> None:
    nodes = [node for layer in layers for node in layer.nodes]
    step.add_submodule(name, module)
    with step.graph.inserting_after(nodes[-1]):
        nodes[-1].replace_all_uses_with(step.graph.call_module(name, (nodes[0].args[0],)))
    for node in reversed(nodes):
        step.graph.erase_node(node)


class _ByKernel(nn.Module):
    """(N, I, H, W) -> (N, O, H', W'), in memory (N, H, W, C)."""

    def __init__(self, layer: _Layer) -> None:
        super().__init__()
        self._layer = layer

    def forward(self, x: Tensor) -> Tensor:
        conv, norm, bounds, geometry = self._layer.conv, self._layer.norm, self._layer.bounds, self._layer.geometry
        rows = x.permute(0, 2, 3, 1).contiguous()
        if geometry.has_kernel:
            y = NormalisedLayer.apply(rows, *self._layer.affine, geometry.stride[0], norm, bounds)
        else:
            y = NormalisedRows.apply(geometry.convolve(rows, conv.weight), norm.weight, norm.bias, norm, bounds)
        return y.permute(0, 3, 1, 2)


class _PairByKernel(nn.Module):
    """(N, I, H, W) -> (N, O, H', W'), in memory (N, H, W, C)."""

    def __init__(self, first: _Layer, second: _Layer) -> None:
        super().__init__()
        self._first, self._second = first, second

    def forward(self, x: Tensor) -> Tensor:
        first, second = self._first, self._second
        rows = x.permute(0, 2, 3, 1).contiguous()
        given = (*first.affine, *second.affine, (first.norm, second.norm), (first.bounds, second.bounds))
        y = NormalisedPair.apply(rows, *given, second.geometry.stride[0])
        return y.permute(0, 3, 1, 2)
