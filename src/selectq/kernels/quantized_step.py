"""The fake-quantized network's forward pass by kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.data.augment import PIXEL_SCALE
from selectq.kernels.convolutions import convolve, has_kernel
from selectq.kernels.fake_quantized import (
    QuantizedLayer,
    QuantizedRows,
    Seen,
    StoredGrid,
    StraightThrough,
    fake_quantized_parameters,
)
from selectq.quantization.fused import FusedBlock, FusedConv2d, FusedLayer, FusedLinear, FusedMobileNetV2, Place, Watch
from selectq.quantization.quantizers import ActivationQuantizer

Parameters = tuple[Tensor, Tensor]
"""A layer's fake-quantized weight and bias."""


class QuantizedStep:
    """The network's forward pass on the CPU; in training mode, watched ranges are left in the quantizers.

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
        return self.watched(images, _look_away)

    def watched(self, images: Tensor, watch: Watch) -> Tensor:
        """As `FusedMobileNetV2.watched`."""
        self._bring_up_to_date()
        x = images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3)
        for block in self._network.blocks():
            x = self._any(block, x, watch)
        x = F.avg_pool2d(x.permute(0, 3, 1, 2), x.shape[1:3]).permute(0, 2, 3, 1).contiguous()  # (N, 1, 1, C)
        pooled = self._stored(self._network.pool, x).flatten(1)
        weight, bias = self._parameters[self._network.classifier]
        classifier, straight = self._network.classifier, StraightThrough.apply
        logits = F.linear(pooled, straight(classifier.weight, weight), straight(classifier.bias, bias))
        watch(classifier, logits)
        return logits

    def part(self, module: FusedConv2d | FusedBlock | FusedLinear, x: Tensor) -> Tensor:
        """As `FusedMobileNetV2.part`, with the scales and levels of the last pass through the whole network."""
        if isinstance(module, FusedLinear):
            return F.linear(x, *self._parameters[module])
        rows = x.permute(0, 2, 3, 1).contiguous()
        return self._any(module, rows, _look_away).permute(0, 3, 1, 2)

    def _any(self, module: FusedConv2d | FusedBlock, x: Tensor, watch: Watch) -> Tensor:
        return self._block(module, x, watch) if isinstance(module, FusedBlock) else self._convolution(module, x, watch)

    def _block(self, block: FusedBlock, x: Tensor, watch: Watch) -> Tensor:
        y = x
        for layer in block.convolutions():
            y = self._convolution(layer, y, watch)
        y = self._stored(block, x + y) if block.residual else y
        watch(block, y.permute(0, 3, 1, 2))
        return y

    def _convolution(self, layer: FusedConv2d, x: Tensor, watch: Watch) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O)."""
        levels, grid, seen = self._parameters[layer], self._grids[layer], Seen()
        y: Tensor
        if has_kernel(layer):
            y = QuantizedLayer.apply(x, layer.weight, layer.bias, levels, layer.stride[0], grid, seen)
        else:
            raw = convolve(x, StraightThrough.apply(layer.weight, levels[0]), layer)
            y = QuantizedRows.apply(raw, layer.bias, levels[1], grid, seen)
        _show(layer, seen)
        watch(layer, y.permute(0, 3, 1, 2))
        return y

    def _stored(self, place: Place, raw: Tensor) -> Tensor:
        """The stored values of a place without parameters, for (N, H, W, C)."""
        none, seen = raw.new_zeros(raw.shape[3]), Seen()
        y: Tensor = QuantizedRows.apply(raw, none, none, self._grids[place], seen)
        _show(place, seen)
        return y

    @torch.no_grad()
    def _bring_up_to_date(self) -> None:
        moved = {place for place in self._network.places() if self._was_written(_quantizer(place))}
        self._grids |= {place: _grid(place) for place in moved}
        for layer, source in self._inputs:
            if self._was_written(layer) or self._may_have_learnt(layer) or layer in moved or source in moved:
                self._parameters[layer] = self._fake_quantized(layer, source)

    def _fake_quantized(self, layer: FusedLayer, source: Place | None) -> Parameters:
        input_scale = PIXEL_SCALE if source is None else self._grids[source].scale
        output_scale = self._grids[layer].scale if isinstance(layer, Place) else None
        return fake_quantized_parameters(layer, input_scale, output_scale)

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


def _look_away(module: nn.Module, output: Tensor) -> None:
    """Watch nothing."""


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
        quantizer.seen = seen.range
