"""The layers of an FP32 network, each with the batch norm behind it, and how their channels are scaled."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selectq.graph.nodes import Conv, Graph, Linear, Node

NormalisedConv = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution, and the batch norm of its output."""


@dataclass(frozen=True)
class FloatLayer:
    """A convolution or fully connected layer, and the batch norm of its output, if it has one."""

    module: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None

    def folded_weight(self) -> Tensor:
        """The weight with the batch norm folded in, (O, ...), in double precision."""
        weight = self.module.weight.detach().double()
        return weight if self.norm is None else weight * _per_output(folding_factor(self.norm), weight)

    def unfolded(self, weight: Tensor) -> Tensor:
        """The weight from which folding makes `weight` (O, ...), 0 where folding multiplies by 0."""
        if self.norm is None:
            return weight
        factor = _per_output(folding_factor(self.norm), weight)
        return torch.where(factor == 0, 0.0, weight / factor)

    def output_ranges(self) -> Tensor:
        """The largest folded weight, by magnitude, of each channel that the layer puts out: (O,)."""
        return self.folded_weight().abs().flatten(1).amax(1)

    def input_ranges(self) -> Tensor:
        """The same of each channel that the layer reads: (I,)."""
        return self._by_input(self.folded_weight()).abs().amax(0)

    def input_norms(self) -> Tensor:
        """The length of all weights that read each channel: (I,)."""
        return self._by_input(self.module.weight).norm(dim=0)

    @torch.no_grad()
    def scale_outputs(self, factors: Tensor) -> None:
        """Multiply what each channel puts out by `factors` (O,), in place."""
        if self.norm is not None:
            self.norm.weight.mul_(factors)
            self.norm.bias.mul_(factors)
            return
        self.module.weight.mul_(_per_output(factors, self.module.weight))
        if self.module.bias is not None:
            self.module.bias.mul_(factors)

    @torch.no_grad()
    def unscale_inputs(self, factors: Tensor) -> None:
        """Divide the weights that read each channel by `factors` (I,), in place."""
        weight, groups = self.module.weight, self._groups
        by_group = factors.view(groups, 1, -1).expand(-1, len(weight) // groups, -1).flatten(0, 1)  # (O, I / groups)
        weight.div_(by_group[..., None, None] if self._is_conv else by_group)

    def _by_input(self, weight: Tensor) -> Tensor:
        """A weight (O, I / groups, ...) by the channels that it reads, (weights of each, I)."""
        groups, (outputs, inputs) = self._groups, weight.shape[:2]
        by_group = weight.reshape(groups, outputs // groups, inputs, -1)
        return by_group.permute(1, 3, 0, 2).flatten(2).flatten(0, 1)

    @property
    def _is_conv(self) -> bool:
        return isinstance(self.module, nn.Conv2d)

    @property
    def _groups(self) -> int:
        return self.module.groups if isinstance(self.module, nn.Conv2d) else 1


def rescale_channels(layer: FloatLayer, following: FloatLayer, factors: Tensor) -> None:
    """Multiply the C channels between two layers by `factors` (C,), which is undone in the second."""
    factors = factors.to(layer.module.weight)
    layer.scale_outputs(factors)
    following.unscale_inputs(factors)


def float_layer(model: nn.Module, node: Node) -> FloatLayer:
    """The layer of a graph's node in the model that the graph is of, or in a copy."""
    operation = node.operation
    assert isinstance(operation, Conv | Linear)
    module = model.get_submodule(operation.module)
    norm = model.get_submodule(operation.norm) if isinstance(operation, Conv) and operation.norm else None
    assert isinstance(module, nn.Conv2d | nn.Linear) and isinstance(norm, nn.BatchNorm2d | None)
    return FloatLayer(module, norm)


def normalised_convolutions(model: nn.Module, graph: Graph) -> Iterator[NormalisedConv]:
    """Every convolution that has a batch norm, with it, in order of execution."""
    for node in graph.layers():
        layer = float_layer(model, node)
        if isinstance(layer.module, nn.Conv2d) and layer.norm is not None:
            yield layer.module, layer.norm


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The running mean and variance, (O,) each: the buffers themselves."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def folding_factor(norm: nn.BatchNorm2d) -> Tensor:
    """The factor by which folding multiplies each output channel's weights, (O,), in double precision."""
    _, variance = running_statistics(norm)
    return norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)


def output_spread(norm: nn.BatchNorm2d) -> Tensor:
    """The standard deviation of what each channel of a batch norm puts out, (C,), in double precision."""
    _, variance = running_statistics(norm)
    variance = variance.double()
    return norm.weight.detach().double().abs() * torch.sqrt(variance / (variance + norm.eps))


def _per_output(values: Tensor, weight: Tensor) -> Tensor:
    """(O,) in the shape that multiplies a weight (O, ...)."""
    return values.view(-1, *[1] * (weight.dim() - 1))
