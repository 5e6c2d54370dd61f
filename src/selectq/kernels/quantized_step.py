"""The fake-quantized network's forward pass by kernels."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from selectq.graph.nodes import PIXELS, Node
from selectq.kernels.convolutions import convolve, has_kernel
from selectq.kernels.fake_quantized import (
    QuantizedLayer,
    QuantizedRows,
    Seen,
    StoredGrid,
    StraightThrough,
    fake_quantized_parameters,
)
from selectq.quantization.network import (
    AddNode,
    ConvNode,
    Network,
    NormalizationNode,
    PoolNode,
    Site,
    Watch,
    execute,
)
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.quantization.scale_assignment import quantizer_of, weight_quantizer_of

Parameters = tuple[Tensor, Tensor]
"""A layer's fake-quantized weight and bias."""


class QuantizedStep:
    """The network's forward pass on the CPU; in training mode, observed ranges are left in the quantizers.

    Convolutions, sums and averages run as kernels, everything else as the modules do. The codes of parameters are
    computed again only where these or their scales were written to since. Needs the kernels in `SOURCES`.
    """

    SOURCES = ("fake_quantize.cpp", "common.hpp")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._convolutions = [layer for layer in network.layers() if isinstance(layer, ConvNode)]
        self._grids: dict[Site, StoredGrid] = {}
        self._parameters: dict[ConvNode, Parameters] = {}
        self._versions: dict[nn.Module, int] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> logits (N, classes)."""
        return self.watched(images, _look_away)

    def watched(self, images: Tensor, watch: Watch) -> Tensor:
        """As `Network.watched`."""
        self._bring_up_to_date()
        return self._run(self._network.graph.output.name, {PIXELS: images}, watch)

    def compute(self, name: str, given: Mapping[str, Tensor]) -> Tensor:
        """As `Network.compute`, with the parameters' codes of the last pass through the whole network."""
        return self._run(name, given, _look_away)

    def _run(self, name: str, given: Mapping[str, Tensor], watch: Watch) -> Tensor:
        def compute(node: Node, inputs: list[Tensor]) -> Tensor:
            module = self._network[node.name]
            output = self._compute(module, inputs)
            watch(module, _images(output))
            return output

        return _images(execute(self._network.graph, name, {each: _rows(x) for each, x in given.items()}, compute))

    def _compute(self, module: nn.Module, inputs: list[Tensor]) -> Tensor:
        """A node's output; images are (N, H, W, C) here."""
        if isinstance(module, ConvNode) and not isinstance(module, NormalizationNode):
            return self._convolution(module, *inputs)
        if isinstance(module, AddNode) and inputs[0].ndim == 4:
            return self._stored(module, inputs[0] + inputs[1])
        if isinstance(module, PoolNode):
            return self._stored(module, _rows(module.raw(_images(inputs[0]))))
        return _rows(module(*map(_images, inputs)))

    def _convolution(self, layer: ConvNode, x: Tensor) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O)."""
        codes, grid, seen = self._parameters[layer], self._grids[layer], Seen()
        y: Tensor
        if has_kernel(layer):
            y = QuantizedLayer.apply(x, layer.weight, layer.bias, codes, layer.stride[0], grid, seen)
        else:
            raw = convolve(x, StraightThrough.apply(layer.weight, codes[0]), layer)
            y = QuantizedRows.apply(raw, layer.bias, codes[1], grid, seen)
        _show(layer, seen)
        return y

    def _stored(self, site: Site, raw: Tensor) -> Tensor:
        """The stored values of a site without parameters, for (N, H, W, C)."""
        none, seen = raw.new_zeros(raw.shape[3]), Seen()
        y: Tensor = QuantizedRows.apply(raw, none, none, self._grids[site], seen)
        _show(site, seen)
        return y

    @torch.no_grad()
    def _bring_up_to_date(self) -> None:
        for site in self._network.sites():
            if self._was_written(quantizer_of(site)):
                self._grids[site] = _grid(quantizer_of(site))
        for layer in self._convolutions:
            written = self._was_written(layer), self._was_written(weight_quantizer_of(layer))
            if any(written) or self._may_have_learnt(layer):
                self._parameters[layer] = fake_quantized_parameters(layer)

    def _was_written(self, module: nn.Module) -> bool:
        """Whether a tensor of the module itself was written to since this was asked last; True the first time."""
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        version = sum(tensor._version for tensor in tensors)
        before = self._versions.get(module)
        self._versions[module] = version
        return version != before

    def _may_have_learnt(self, layer: ConvNode) -> bool:
        """Whether an optimiser may have moved a parameter since the last call; fused ones leave its version alone."""
        return layer.weight.requires_grad or layer.bias.requires_grad


def _look_away(module: nn.Module, output: Tensor) -> None:
    """Watch nothing."""


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C) as it lies in memory; (N, C) as it is."""
    return x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x


def _images(x: Tensor) -> Tensor:
    """The inverse of `_rows`."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _grid(quantizer: ActivationQuantizer) -> StoredGrid:
    grid = quantizer.grid()
    ends = float(grid.quant_min), float(grid.quant_max)
    return StoredGrid(quantizer.scale.item(), quantizer.zero_point.item(), *ends)


def _show(site: Site, seen: Seen) -> None:
    """Leave what was seen in the site's quantizer, if it observes."""
    quantizer = quantizer_of(site)
    if quantizer.training and quantizer.observing:
        quantizer.seen = seen.range
