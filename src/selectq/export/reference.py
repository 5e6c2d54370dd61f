"""The reference form: integer weights and biases, and explicit quantize/dequantize around every operator.

It is written in torch's standard quantize/dequantize operators, which the exporters know. A module of torch.ao
registers them; none of its quantizers are used.
"""

import copy

import torch
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn

from selectq.data.augment import PIXEL_SCALE, PIXEL_ZERO_POINT
from selectq.params.configs import WeightScheme
from selectq.quantization.fake_quantize import Grid, scale_with_room_for_bias, weight_grid, weight_scale
from selectq.quantization.fused import FusedLayer, FusedMobileNetV2, Place
from selectq.quantization.quantizers import ActivationQuantizer, stored_scale

_ops = torch.ops.quantized_decomposed
_UINT8 = Grid(0, 255)


class DequantizePerTensor(nn.Module):
    """Integers of any shape, with one scale and zero point 0, to float32."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, levels: Tensor) -> Tensor:
        """The values that the levels stand for."""
        ends = torch.iinfo(levels.dtype)
        return _ops.dequantize_per_tensor(levels, self.scale, 0, ends.min, ends.max, levels.dtype)


class DequantizePerChannel(nn.Module):
    """Integers (O, ...), with a scale per output channel (O,) and zero point 0, to float32."""

    scales: Tensor
    zero_points: Tensor

    def __init__(self, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("scales", scales)
        self.register_buffer("zero_points", torch.zeros_like(scales, dtype=torch.int64))

    def forward(self, levels: Tensor) -> Tensor:
        """The values that the levels stand for."""
        ends = torch.iinfo(levels.dtype)
        return _ops.dequantize_per_channel(levels, self.scales, self.zero_points, 0, ends.min, ends.max, levels.dtype)


class QuantizeDequantize(nn.Module):
    """Store an activation as uint8 and read it back; a clip on the integers where the grid is not all of [0, 255]."""

    def __init__(self, scale: float, zero_point: int, grid: Grid) -> None:
        super().__init__()
        self.scale = scale
        self.zero_point = zero_point
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, float32 on the grid."""
        levels = _ops.quantize_per_tensor(x, self.scale, self.zero_point, 0, 255, torch.uint8)
        if self.grid != _UINT8:
            levels = levels.clamp(self.grid.quant_min, self.grid.quant_max)
        return _ops.dequantize_per_tensor(levels, self.scale, self.zero_point, 0, 255, torch.uint8)


class ReferenceNetwork(nn.Module):
    """uint8 pixels (N, 3, H, W) -> float logits (N, classes). Pixels are quantized values as they are."""

    def __init__(self, network: FusedMobileNetV2) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, classes)."""
        x = _ops.dequantize_per_tensor(pixels, PIXEL_SCALE, PIXEL_ZERO_POINT, 0, 255, torch.uint8)
        return self.network(x)


def to_reference(network: FusedMobileNetV2, scheme: WeightScheme) -> ReferenceNetwork:
    """The reference form of a fake-quantized network, which is left as it is."""
    network = copy.deepcopy(network).cpu().eval()
    input_scales = [(layer, stored_scale(source)) for layer, source in network.inputs()]
    for layer, input_scale in input_scales:
        _store_integers(layer, scheme, input_scale)
    for place in network.places():
        _store_activation(place)
    return ReferenceNetwork(network).eval()


def _store_activation(place: Place) -> None:
    """Put quantize/dequantize into a place."""
    quantizer = place.activation
    assert isinstance(quantizer, ActivationQuantizer)
    scale, zero_point = quantizer.scale_and_zero_point()
    place.activation = QuantizeDequantize(scale.item(), int(zero_point.item()), quantizer.grid())


@torch.no_grad()
def _store_integers(layer: FusedLayer, scheme: WeightScheme, input_scale: Tensor) -> None:
    """Replace a layer's weight by int8 levels and its bias by int32 levels of scale `input_scale` * weight scale."""
    shape = [-1] + [1] * (layer.weight.ndim - 1)
    scale = scale_with_room_for_bias(
        weight_scale(layer.weight, scheme).flatten(), layer.bias, input_scale
    )  # (O,) or (1,)
    grid = weight_grid(scheme)
    levels = (layer.weight * scale.reciprocal().view(shape)).round().clamp(grid.quant_min, grid.quant_max)
    bias_levels = (layer.bias.double() / (scale * input_scale).double()).round()
    layer.weight = nn.Parameter(levels.to(torch.int8).contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(bias_levels.to(torch.int32), requires_grad=False)
    layer.read_weight = _dequantize(scale)
    layer.read_bias = _dequantize(scale * input_scale)


def _dequantize(scale: Tensor) -> nn.Module:
    return DequantizePerChannel(scale) if len(scale) > 1 else DequantizePerTensor(scale.item())
