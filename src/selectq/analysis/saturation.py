"""Pointwise convolutions as an x86 processor without VNNI computes them: two products are added in 16 bits.

`selectq.programs.saturation` says what that is, and asks the processor at hand. Here it is simulated, for the pairs of
neighbouring input channels of a 1x1 convolution; which pairs other layers add differs from runtime to runtime, so they
stay exact, as do grouped ones and those that read the pixels.
"""

import torch
from torch import Tensor

from selectq.quantization.fake_quantize import to_codes
from selectq.quantization.network import ConvNode, Network, Site
from selectq.quantization.scale_assignment import quantizer_of, weight_quantizer_of

LOWEST, HIGHEST = -(2**15), 2**15 - 1
"""The range of 16 bits."""


def saturate_products(network: Network) -> None:
    """Let the products of a fake-quantized network's 1x1 convolutions saturate, in place."""
    for layer, source in list(network.inputs()):
        if (
            source is not None
            and isinstance(layer, ConvNode)
            and layer.weight.shape[2:] == (1, 1)
            and layer.groups == 1
        ):
            _Saturation(layer, source)


class _Saturation:
    """Takes away from one layer's accumulators what its pairs lose, by hooks on the layer and on its quantizer."""

    def __init__(self, layer: ConvNode, source: Site) -> None:
        quantizer = weight_quantizer_of(layer)
        self.codes = quantizer.codes(layer.weight, layer.bias)[0].flatten(1).detach()  # (O, I)
        self.accumulator_scale = quantizer.bias_scale.view(-1, 1, 1)  # (O or 1, 1, 1)
        self.stored = quantizer_of(source)
        self.stride = layer.stride
        self.lost: Tensor | None = None
        layer.register_forward_pre_hook(lambda module, inputs: self._look(inputs[0]))
        layer.activation.register_forward_pre_hook(lambda module, inputs: (inputs[0] - self.lost,))

    def _look(self, x: Tensor) -> None:
        x = x[..., :: self.stride[0], :: self.stride[1]]  # what the layer reads of it
        codes = to_codes(x, self.stored.scale, self.stored.zero_point, self.stored.integers())
        self.lost = lost_by_saturation(codes, self.codes) * self.accumulator_scale


def lost_by_saturation(activations: Tensor, weights: Tensor) -> Tensor:
    """How much sums of products lose where neighbours are added in 16 bits.

    Args:
        activations: codes (N, I, H, W), whole numbers from 0 to 255; the last of an odd I has no neighbour.
        weights: codes (O, I), whole numbers from -127 to 127.

    Returns:
        (N, O, H, W), in codes of the accumulator: the exact sum minus the one that saturates.
    """
    paired = weights.shape[1] // 2 * 2
    first, second = weights[:, 0:paired:2], weights[:, 1:paired:2]  # (O, I / 2)
    highest = 255 * torch.maximum(first.clamp(min=0) + second.clamp(min=0), -first.clamp(max=0) - second.clamp(max=0))
    outputs, pairs = (highest > HIGHEST).nonzero(as_tuple=True)  # few: weights of both signs, most of them small
    count, _, height, width = activations.shape
    lost = activations.new_zeros(count, len(weights), height, width)
    for output, pair in zip(outputs.tolist(), pairs.tolist(), strict=True):
        one, other = activations[:, 2 * pair], activations[:, 2 * pair + 1]  # (N, H, W)
        total = one * first[output, pair] + other * second[output, pair]
        lost[:, output] += total - total.clamp(LOWEST, HIGHEST)
    return lost
