"""Empirical bias correction: rounding shifts a layer's mean output; its bias shifts it back.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, appendix D).
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.quantization.fused import FusedBlock, FusedLayer, FusedLinear, FusedMobileNetV2


@torch.no_grad()
def correct_bias(float_network: FusedMobileNetV2, quantized: FusedMobileNetV2, batches: Sequence[Tensor]) -> None:
    """Correct every bias of a fake-quantized network, in place, so that its mean outputs are the float network's.

    Layer by layer in network order: each correction is measured behind those before it. Every image counts the same.
    Memory holds what one block reads of all images, and what is inside it of one batch.

    Args:
        float_network: the same network in its float form.
        quantized: with quantizers inserted. Scales follow from the biases, which stay whole multiples of them.
        batches: float (B, 3, H, W).
    """
    wanted = mean_outputs(float_network, batches)
    stored = list(batches)
    for block in quantized.blocks():
        layers = block.convolutions() if isinstance(block, FusedBlock) else [block]
        for index, layer in enumerate(layers):
            _correct(layer, map(nn.Sequential(*layers[:index]), stored), wanted[layer.name])
        stored = [block(x) for x in stored]
    pooled = (quantized.pool(x).flatten(1) for x in stored)
    _correct(quantized.classifier, pooled, wanted[quantized.classifier.name])


def mean_outputs(network: FusedMobileNetV2, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """Layer name -> its mean output before the activation function, over all images and positions, (O,), double."""
    means = {layer.name: ChannelMean() for layer in network.fused_layers()}
    handles = [
        layer.register_forward_pre_hook(lambda layer, inputs: means[layer.name].add(raw_output(layer, *inputs)))
        for layer in network.fused_layers()
    ]
    for batch in batches:
        network(batch)
    for handle in handles:
        handle.remove()
    return {name: mean.value() for name, mean in means.items()}


def raw_output(layer: FusedLayer, x: Tensor) -> Tensor:
    """A layer's output before its activation function: (N, O, H', W'), or (N, O) for the classifier."""
    weight, bias = layer.read_parameters(layer.weight, layer.bias)
    if isinstance(layer, FusedLinear):
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)


def _correct(layer: FusedLayer, inputs: Iterable[Tensor], wanted: Tensor) -> None:
    mean = ChannelMean()
    for x in inputs:
        mean.add(raw_output(layer, x))
    _, rounded = layer.read_parameters(layer.weight, layer.bias)  # what was measured: the bias is rounded too
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
