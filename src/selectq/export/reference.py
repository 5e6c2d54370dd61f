"""The reference form: integer weights and biases, and explicit quantize/dequantize around every operator.

It is written in torch's standard quantize/dequantize operators, which the exporters know. A module of torch.ao
registers them; none of its quantizers are used.
"""

import copy

import torch
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn

from selectq.errors import UserError
from selectq.quantization.fake_quantize import IntegerRange
from selectq.quantization.network import Layer, LookupNode, Network, Site
from selectq.quantization.quantizers import GateQuantizer
from selectq.quantization.scale_assignment import quantizer_of, scales_of, weight_quantizer_of

_ops = torch.ops.quantized_decomposed
UINT8 = IntegerRange(0, 255)


class DequantizePerTensor(nn.Module):
    """Integers of any shape, with one scale and zero point 0, to float32."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, codes: Tensor) -> Tensor:
        """The values that the codes stand for."""
        ends = torch.iinfo(codes.dtype)
        return _ops.dequantize_per_tensor(codes, self.scale, 0, ends.min, ends.max, codes.dtype)


class DequantizePerChannel(nn.Module):
    """Integers (O, ...), with a scale per output channel (O,) and zero point 0, to float32."""

    scales: Tensor
    zero_points: Tensor

    def __init__(self, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("scales", scales)
        self.register_buffer("zero_points", torch.zeros_like(scales, dtype=torch.int64))

    def forward(self, codes: Tensor) -> Tensor:
        """The values that the codes stand for."""
        ends = torch.iinfo(codes.dtype)
        return _ops.dequantize_per_channel(codes, self.scales, self.zero_points, 0, ends.min, ends.max, codes.dtype)


class DequantizeParameters(nn.Module):
    """A layer's integer weight and bias, to float32."""

    def __init__(self, weight_scale: Tensor, bias_scale: Tensor) -> None:
        super().__init__()
        self.weight = _dequantize(weight_scale)
        self.bias = _dequantize(bias_scale)

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The values that the codes stand for."""
        return self.weight(weight), self.bias(bias)

    def weight_scales(self) -> Tensor:
        """The scales of the weight, (O,), or one as a scalar."""
        return _scales(self.weight)

    def bias_scales(self) -> Tensor:
        """The scales of the bias, likewise."""
        return _scales(self.bias)


def _scales(module: DequantizePerChannel | DequantizePerTensor) -> Tensor:
    return module.scales if isinstance(module, DequantizePerChannel) else torch.tensor(module.scale)


class QuantizeDequantize(nn.Module):
    """Store an activation as uint8 and read it back; a clip on the integers where the grid is not all of [0, 255]."""

    def __init__(self, scale: float, zero_point: int, integers: IntegerRange) -> None:
        super().__init__()
        self.scale = scale
        self.zero_point = zero_point
        self.integers = integers

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, float32 on the grid."""
        codes = _ops.quantize_per_tensor(x, self.scale, self.zero_point, 0, 255, torch.uint8)
        if self.integers != UINT8:
            codes = codes.clamp(self.integers.quant_min, self.integers.quant_max)
        return _ops.dequantize_per_tensor(codes, self.scale, self.zero_point, 0, 255, torch.uint8)


class ReferenceNetwork(nn.Module):
    """uint8 pixels (N, 3, H, W) -> float logits (N, classes). Pixels are quantized values as they are."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, classes)."""
        x = _ops.dequantize_per_tensor(
            pixels, self.network.pixel_scale, self.network.pixel_zero_point, 0, 255, torch.uint8
        )
        return self.network(x)


def to_reference(network: Network) -> ReferenceNetwork:
    """The reference form of a fake-quantized network, which is left as it is.

    Raises:
        UserError: a scale is not positive and finite.
    """
    network = copy.deepcopy(network).cpu().eval()
    _check_scales(network)
    layers = [*network.normalizations(), *network.layers()]
    integers = [(layer, _to_integers(layer)) for layer in layers]  # before any site changes
    for layer, (weight, bias, weight_quantizer) in integers:
        layer.weight, layer.bias = weight, bias
        layer.weight_quantizer = weight_quantizer
    for site in network.sites():
        _store_activation(site)
    for normalization in network.normalizations():
        normalization.recovers = False
    return ReferenceNetwork(network).eval()


def _check_scales(network: Network) -> None:
    """Raise a UserError that names the first tensor without a usable scale: activations first, weights follow them."""
    for name, scale in scales_of(network):
        _check_scale(name, scale)


def _check_scale(name: str, scale: Tensor) -> None:
    unusable = scale[~(scale.isfinite() & (scale > 0))]
    if unusable.numel():
        raise UserError(f"{name}: a scale of {unusable[0].item():g}; allowed: positive and finite. See its values")


def _store_activation(site: Site) -> None:
    """Put quantize/dequantize into a site."""
    quantizer = quantizer_of(site)
    zero_point = int(quantizer.zero_point.item())
    site.activation = QuantizeDequantize(quantizer.scale.item(), zero_point, quantizer.integers())
    if isinstance(site, LookupNode) and isinstance(site.gate, GateQuantizer):
        site.gate = QuantizeDequantize(site.gate.scale, 0, UINT8)


@torch.no_grad()
def _to_integers(layer: Layer) -> tuple[nn.Parameter, nn.Parameter, nn.Module]:
    """A layer's weight as int8 codes, its bias as int32 codes, and what reads the two."""
    quantizer = weight_quantizer_of(layer)
    weight, bias = quantizer.codes(layer.weight, layer.bias)
    weight_quantizer = DequantizeParameters(quantizer.scale, quantizer.bias_scale)
    return _integers(weight, torch.int8), _integers(bias, torch.int32), weight_quantizer


def _integers(codes: Tensor, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(codes.to(dtype).contiguous(), requires_grad=False)


def _dequantize(scale: Tensor) -> DequantizePerChannel | DequantizePerTensor:
    return DequantizePerChannel(scale) if len(scale) > 1 else DequantizePerTensor(scale.item())
