"""Empirical bias correction: rounding shifts a layer's mean output; its bias shifts it back.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, appendix D).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from selectq.ptq.registry import PtqState, When, register
from selectq.ptq.walk import Walk, single_nodes
from selectq.quantization.network import Layer, Network
from selectq.quantization.post_training import fold_model
from selectq.quantization.scale_assignment import ScaleAssignment


@torch.no_grad()
def correct_bias(float_network: Network, quantized: Network, batches: Sequence[Tensor]) -> None:
    """Correct every bias of a fake-quantized network, in place, so that its mean outputs are the float network's.

    Layer by layer in network order: each correction is measured behind those before it. Every image counts the same.

    Args:
        float_network: the same network in its float form.
        quantized: with quantizers inserted. Scales follow from the biases, which stay whole multiples of them.
        batches: float (B, 3, H, W).
    """
    wanted, assignment = mean_outputs(float_network, batches), ScaleAssignment(quantized)
    graph, walk = quantized.graph, Walk(quantized, torch.cat(list(batches)), [len(batch) for batch in batches])
    for unit in single_nodes(graph):
        if graph[unit.name].is_layer:
            inputs = (x for given in walk.batches(unit.inputs) for x in given.values())
            _correct(quantized[unit.name], inputs, wanted[unit.name])
            assignment.assign()
        walk.compute(unit)
        walk.release(unit)


def mean_outputs(network: Network, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """Layer name -> its mean output before the activation function, over all images and positions, (O,), double."""
    means = {layer.name: ChannelMean() for layer in network.layers()}
    handles = [
        layer.register_forward_pre_hook(lambda layer, inputs: means[layer.name].add(raw_output(layer, *inputs)))
        for layer in network.layers()
    ]
    for batch in batches:
        network(batch)
    for handle in handles:
        handle.remove()
    return {name: mean.value() for name, mean in means.items()}


def raw_output(layer: Layer, x: Tensor) -> Tensor:
    """A layer's output before its activation function: (N, O, H', W'), or (N, O) for the classifier."""
    return layer.raw(x, *layer.weight_quantizer(layer.weight, layer.bias))


def _correct(layer: Layer, inputs: Iterable[Tensor], wanted: Tensor) -> None:
    mean = ChannelMean()
    for x in inputs:
        mean.add(raw_output(layer, x))
    _, rounded = layer.weight_quantizer(layer.weight, layer.bias)  # what was measured: the bias is rounded too
    layer.bias.copy_(rounded + (wanted - mean.value()))


class ChannelMean:
    """The mean of every channel over all that was added, in double precision."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._count = 0

    def add(self, y: Tensor) -> None:
        """Take in (N, C, H, W) or (N, C)."""
        values = y.movedim(1, -1).flatten(0, -2)  # (values, C)
        self._sum = self._sum + values.mean(0, dtype=torch.double) * len(values)
        self._count += len(values)

    def value(self) -> Tensor:
        """(C,)."""
        assert isinstance(self._sum, Tensor), "nothing was added"
        return self._sum / self._count


class CorrectBias:
    """See `correct_bias`."""

    name = "correct_bias"
    when: When = "after"

    def apply(self, state: PtqState) -> None:
        """Change the biases of the quantized network."""
        device = next(state.quantized.parameters()).device
        reference = fold_model(state.reference, state.graph, state.normalization, device)
        correct_bias(reference, state.quantized, list(state.batches()))


register(CorrectBias())
