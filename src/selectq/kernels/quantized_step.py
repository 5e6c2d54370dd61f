"""The fake-quantized network's forward pass by kernels."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from selectq.graph.nodes import PIXELS, Node
from selectq.kernels.convolutions import POINTWISE, geometry_of
from selectq.kernels.fake_quantized import (
    LookedUp,
    QuantizationParameters,
    QuantizedLayer,
    QuantizedRows,
    Seen,
    Table,
    fake_quantized_parameters,
    learning_parameters,
    tables_of,
)
from selectq.quantization.network import (
    Computation,
    Layer,
    LinearNode,
    LookupNode,
    Network,
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

    What is stored is computed by kernels, or by torch with a kernel behind; everything else as the modules do. Codes of
    parameters and tables of functions are computed again only where what they follow from was written to since. Needs
    the kernels in `SOURCES`.
    """

    SOURCES = ("fake_quantize.cpp", "common.hpp")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sites = list(network.sites())
        self._geometries = {
            layer: POINTWISE if isinstance(layer, LinearNode) else geometry_of(layer)
            for layer in network.layers()
            if layer.stored
        }
        self._read = dict(_read_by_lookups(network))
        self._stored: dict[Site, QuantizationParameters] = {}
        self._parameters: dict[Layer, Parameters] = {}
        self._tables: dict[LookupNode, Table] = {}
        self._tensors: dict[nn.Module, list[Tensor]] = {}
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
        tables = self._tables if given.keys() == {PIXELS} else {}  # what else is given need not have integer codes

        def compute(node: Node, inputs: list[Tensor]) -> Tensor:
            module = self._network[node.name]
            output = self._compute(module, inputs, tables)
            watch(module, _images(output))
            return output

        return _images(execute(self._network.graph, name, {each: _rows(x) for each, x in given.items()}, compute))

    def _compute(self, module: nn.Module, inputs: list[Tensor], tables: Mapping[LookupNode, Table]) -> Tensor:
        """A node's output; images are (N, H, W, C) here."""
        if module in self._geometries:
            return self._layer(module, *inputs)
        seen = Seen()
        if isinstance(module, LookupNode) and module in tables:
            return _shown(module, LookedUp.apply(inputs[0], tables[module], seen), seen)
        if isinstance(module, Computation):
            raw = _rows(module.raw(_images(inputs[0]))) if isinstance(module, PoolNode) else module.raw(*inputs)
            return _shown(module, QuantizedRows.apply(raw, self._stored[module], seen), seen)
        return _rows(module(*map(_images, inputs)))

    def _layer(self, layer: Layer, x: Tensor) -> Tensor:
        """(N, H, W, I) -> (N, H', W', O), or (N, I) -> (N, O)."""
        seen, rows = Seen(), x if x.ndim == 4 else x[:, None, None]
        given = (*learning_parameters(layer), self._parameters[layer], self._geometries[layer], self._stored[layer])
        y = QuantizedLayer.apply(rows, *given, seen)
        return _shown(layer, y if x.ndim == 4 else y.flatten(1), seen)

    @torch.no_grad()
    def _bring_up_to_date(self) -> None:
        moved = {site for site in self._sites if self._was_written(quantizer_of(site))}
        for site in moved:
            self._stored[site] = _integers(quantizer_of(site))
        lookups = ((lookup, read) for lookup, read in self._read.items() if lookup in moved or read in moved)
        self._tables |= tables_of({lookup: quantizer_of(read) for lookup, read in lookups})
        for layer in self._geometries:
            written = self._was_written(layer), self._was_written(weight_quantizer_of(layer))
            if any(written) or self._may_have_learnt(layer):
                self._parameters[layer] = fake_quantized_parameters(layer)

    def _was_written(self, module: nn.Module) -> bool:
        """Whether a tensor of the module itself was written to since this was asked last; True the first time."""
        if module not in self._tensors:
            self._tensors[module] = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        version = sum(tensor._version for tensor in self._tensors[module])
        before = self._versions.get(module)
        self._versions[module] = version
        return version != before

    def _may_have_learnt(self, layer: Layer) -> bool:
        """Whether an optimiser may have moved a parameter since the last call; fused ones leave its version alone."""
        return layer.weight.requires_grad or layer.bias.requires_grad


def _read_by_lookups(network: Network) -> Iterator[tuple[LookupNode, Site]]:
    """Lookups, each with the site whose codes it reads."""
    for site in network.sites():
        read = network.source(site.node.inputs[0])
        if isinstance(site, LookupNode) and read is not None:
            yield site, read


def _look_away(module: nn.Module, output: Tensor) -> None:
    """Watch nothing."""


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C) as it lies in memory; (N, C) as it is."""
    return x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x


def _images(x: Tensor) -> Tensor:
    """The inverse of `_rows`."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _integers(quantizer: ActivationQuantizer) -> QuantizationParameters:
    integers = quantizer.integers()
    ends = float(integers.quant_min), float(integers.quant_max)
    return QuantizationParameters(quantizer.scale.item(), quantizer.zero_point.item(), *ends)


def _shown(site: Site, y: Tensor, seen: Seen) -> Tensor:
    """`y`, once what was seen is left in the site's quantizer, if it observes."""
    quantizer = quantizer_of(site)
    if quantizer.training and quantizer.observing:
        quantizer.seen = seen.range
    return y
