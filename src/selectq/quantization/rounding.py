"""Learned rounding: every weight goes up or down to a neighbouring integer code, whichever an error asks for.

The bias moves with it, and takes out of the output's mean what rounding puts in.

Nagel et al. 2020 ("Up or Down? Adaptive Rounding for Post-Training Quantization").
"""

import torch
from torch import Tensor, nn

from selectq.quantization.fake_quantize import BIAS_INTEGERS, fake_quantize, weight_integers
from selectq.quantization.network import Layer
from selectq.quantization.quantizers import per_output
from selectq.quantization.scale_assignment import weight_quantizer_of
from selectq.quantization.scales import largest_magnitude

LOWEST, HIGHEST = -0.1, 1.1
"""What the sigmoid is stretched to before it is clamped to [0, 1]: it reaches both ends."""


class LearnedRounding(nn.Module):
    """In place of a layer's weight quantizer while its rounding is learned; scales stay.

    Args:
        layer: with a weight quantizer.
        unit: a scalar, of the bias: so much a `shift` of 1 adds.

    Attributes:
        variable: V of equation 22, of the weight's shape. It begins where the weights are what they are in float.
        shift: how far the bias has moved, (O,).
        share: how far each weight is between the code below, 0, and the one above, 1: equation 23, as of `refresh`.
    """

    def __init__(self, layer: Layer, unit: Tensor) -> None:
        super().__init__()
        self._quantizer = weight_quantizer_of(layer)
        self._integers = weight_integers(self._quantizer.scheme)
        self._scale = per_output(self._quantizer.scale, layer.weight)
        codes = (layer.weight.detach() / self._scale).clamp(self._integers.quant_min, self._integers.quant_max)
        self._below = codes.floor()
        self.variable = nn.Parameter(torch.logit((codes - self._below - LOWEST) / (HIGHEST - LOWEST)))
        self.shift, self._unit = nn.Parameter(torch.zeros_like(layer.bias)), unit

        self.refresh()

    def refresh(self) -> None:
        """Bring `share` up to date with `variable`: once for each step, as it is read twice."""
        self.share = (self.variable.sigmoid() * (HIGHEST - LOWEST) + LOWEST).clamp(0, 1)

    def undecided(self, beta: float) -> Tensor:
        """Equation 24, a scalar: 0 where all weights are on integer codes. A large `beta` lets most of them free."""
        return (1 - (2 * self.share - 1).abs().pow(beta)).sum()

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's weight and bias to the weight of equation 22, between integer codes, and the bias on its grid."""
        codes = (self._below + self.share).clamp(self._integers.quant_min, self._integers.quant_max)
        none = torch.zeros((), device=bias.device)
        return codes * self._scale, fake_quantize(self.moved(bias), self._quantizer.bias_scale, none, BIAS_INTEGERS)

    def moved(self, bias: Tensor) -> Tensor:
        """The layer's bias to where it has moved, (O,)."""
        return bias.detach() + self.shift * self._unit

    def decided(self) -> Tensor:
        """The weight on the integer codes that were learned."""
        self.refresh()
        codes = (self._below + (self.share >= 0.5)).clamp(self._integers.quant_min, self._integers.quant_max)
        return codes * self._scale


@torch.no_grad()
def put_on_codes(layer: Layer, rounding: LearnedRounding) -> None:
    """Give a layer the bias that was learned, and a weight on the codes that were; its range and its scale stay.

    From then on rounding to nearest finds these codes again: a checkpoint, an export and a retraining need no more.
    """
    quantizer = weight_quantizer_of(layer)
    clip, largest = quantizer.clip, largest_magnitude(layer.weight, quantizer.scheme)
    clip.copy_(torch.where(clip > 0, clip, largest))
    layer.weight.copy_(rounding.decided())
    layer.bias.copy_(rounding.moved(layer.bias))
