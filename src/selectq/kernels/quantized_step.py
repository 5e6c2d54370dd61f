"""The fake-quantized network's forward pass by kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.kernels.convolutions import convolve, has_kernel
from selectq.kernels.fake_quantized import QuantizedLayer, QuantizedRows, Seen, StoredGrid, StraightThrough
from selectq.quantization.fake_quantize import BIAS_GRID, fake_quantize, weight_grid
from selectq.quantization.fused import FusedBlock, FusedConv2d, FusedLayer, FusedMobileNetV2, Place
from selectq.quantization.quantizers import ActivationQuantizer, LayerQuantizer, per_output
from selectq.quantization.scales import tie_free_scale

Parameters = tuple[Tensor, Tensor]
"""A layer's fake-quantized weight and bias."""


class QuantizedStep:
    """What the network computes, on the CPU; in training mode, watched ranges are left in the quantizers.

    Scales, and levels of parameters, are computed again only where what they depend on was written to since. Needs the
    kernels in `SOURCES`.
    """

    SOURCES = ("fake_quantize.cpp", "common.hpp")

    def __init__(self, network: FusedMobileNetV2) -> None:
        self._network = network
        self._inputs = list(network.inputs())
        self._grids: dict[Place, StoredGrid] = {}
        self._parameters: dict[FusedLayer, Parameters] = {}
        self._versions: dict[nn.Module, int] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> logits (N, classes)."""
        self._bring_up_to_date()
        x = images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3)
        for block in self._network.blocks():
            x = self._block(block, x) if isinstance(block, FusedBlock) else self._convolution(block, x)
        x = F.avg_pool2d(x.permute(0, 3, 1, 2), x.shape[1:3]).permute(0, 2, 3, 1).contiguous()  # (N, 1, 1, C)
        pooled = self._stored(self._network.pool, x).flatten(1)
        weight, bias = self._parameters[self._network.classifier]
        classifier, straight = self._network.classifier, StraightThrough.apply
        return F.linear(pooled, straight(classifier.weight, weight), straight(classifier.bias, bias))

    def _block(self, block: FusedBlock, x: Tensor) -> Tensor:
        y = x
        for layer in block.convolutions():
            y = self._convolution(layer, y)
        return self._stored(block, x + y) if block.residual else y

    def _convolution(self, layer: FusedConv2d, x: Tensor) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O)."""
        levels, grid, seen = self._parameters[layer], self._grids[layer], Seen()
        y: Tensor
        if has_kernel(layer):
            y = QuantizedLayer.apply(x, layer.weight, layer.bias, levels, layer.stride[0], grid, seen)
        else:
            raw = convolve(x, StraightThrough.apply(layer.weight, levels[0]), layer)
            y = QuantizedRows.apply(raw, layer.bias, levels[1], grid, seen)
        _show(layer, seen)
        return y

    def _stored(self, place: Place, raw: Tensor) -> Tensor:
        """What a place without parameters stores of (N, H, W, C)."""
        none, seen = raw.new_zeros(raw.shape[3]), Seen()
        y: Tensor = QuantizedRows.apply(raw, none, none, self._grids[place], seen)
        _show(place, seen)
        return y

    @torch.no_grad()
    def _bring_up_to_date(self) -> None:
        moved = {place for place in self._network.places() if self._was_written(_quantizer(place))}
        self._grids |= {place: _grid(place) for place in moved}
        stale = [
            layer
            for layer, source in self._inputs
            if self._was_written(layer) or self._may_have_learnt(layer) or layer in moved or source in moved
        ]
        self._parameters |= quantized_parameters(stale) if stale else {}

    def _was_written(self, module: nn.Module) -> bool:
        """Whether a tensor of the module itself was written to since this was asked last; True the first time."""
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        version = sum(tensor._version for tensor in tensors)
        before = self._versions.get(module)
        self._versions[module] = version
        return version != before

    def _may_have_learnt(self, layer: FusedLayer) -> bool:
        """Whether an optimiser may have moved a parameter since the last call; fused ones leave its version alone."""
        return layer.weight.requires_grad or layer.bias.requires_grad


def quantized_parameters(layers: list[FusedLayer]) -> dict[FusedLayer, Parameters]:
    """The fake-quantized parameters of many layers, as their `LayerQuantizer` gives them, in few operations."""
    covering, inputs, outputs = [], [], []
    for layer in layers:
        quantizer = layer.read_parameters
        assert isinstance(quantizer, LayerQuantizer)
        input_scale, output_scale = quantizer.neighbour_scales()
        scale = quantizer.covering_scale(layer.weight, layer.bias, input_scale)
        covering.append(scale)
        inputs.append(input_scale.expand_as(scale))
        outputs.append(torch.full_like(scale, torch.nan) if output_scale is None else output_scale.expand_as(scale))
    sizes = [len(scale) for scale in covering]
    flat, into, out = torch.cat(covering), torch.cat(inputs), torch.cat(outputs)
    final = torch.where(out.isnan(), flat, tie_free_scale(flat, into, out))
    none = torch.zeros(())
    found = {}
    for layer, scale, bias_scale in zip(layers, final.split(sizes), (final * into).split(sizes), strict=True):
        grid = weight_grid(layer.read_parameters.scheme)  # type: ignore[arg-type]
        weight = fake_quantize(layer.weight, per_output(scale, layer.weight), none, grid)
        found[layer] = weight, fake_quantize(layer.bias, bias_scale, none, BIAS_GRID)
    return found


def _quantizer(place: Place) -> ActivationQuantizer:
    assert isinstance(place.activation, ActivationQuantizer), f"{place.name} is not quantized"
    return place.activation


def _grid(place: Place) -> StoredGrid:
    quantizer = _quantizer(place)
    scale, zero_point = quantizer.scale_and_zero_point()
    grid = quantizer.grid()
    return StoredGrid(scale.item(), zero_point.item(), float(grid.quant_min), float(grid.quant_max))


def _show(place: Place, seen: Seen) -> None:
    """Leave what was seen in the place's quantizer, if it is watching."""
    quantizer = _quantizer(place)
    if quantizer.training and quantizer.observing:
        low, high = (torch.tensor(end) for end in (seen.low, seen.high))
        quantizer.seen = low, high
