"""A network, unit by unit, on the calibration images: each unit is computed once, from what those before it put out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from selectq.graph.nodes import PIXELS, Graph
from selectq.quantization.fake_quantize import to_codes
from selectq.quantization.network import Block, Network
from selectq.quantization.quantizers import ActivationQuantizer


def single_nodes(graph: Graph) -> list[Block]:
    """Every node as a unit of its own."""
    return [Block(node.name, (node.name,), tuple(dict.fromkeys(node.inputs))) for node in graph.nodes[1:]]


def outputs_of(graph: Graph, unit: Block) -> list[str]:
    """The nodes of a unit that others read, or that give the logits."""
    readers = ((name, graph.readers[name]) for name in unit.nodes)
    return [name for name, read in readers if not read or any(reader.name not in unit.nodes for reader in read)]


def read_behind(graph: Graph, unit: Block) -> set[str]:
    """The nodes that are read by what comes behind a unit."""
    names = [node.name for node in graph.nodes]
    return {source for node in graph.nodes[names.index(unit.output) + 1 :] for source in node.inputs}


def run_unit(network: Network, unit: Block, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What every node of a unit puts out, and what was given: node name -> output."""
    values = dict(given)
    for name in unit.nodes:
        values[name] = network[name](*(values[source] for source in network.graph[name].inputs))
    return values


class Walk:
    """What a network's next unit reads, of all images: kept as long as it is read, codes as one byte each.

    Args:
        network: in its float form, or quantized with scales that stay.
        images: float (N, 3, H, W).
        sizes: of the batches in which they are computed.
    """

    def __init__(self, network: Network, images: Tensor, sizes: Sequence[int]) -> None:
        self._network = network
        self._sizes = sizes
        self._kept = {PIXELS: images}

    def __len__(self) -> int:
        """The number of images."""
        return sum(self._sizes)

    def read(self, names: Sequence[str], chosen: slice | Tensor) -> dict[str, Tensor]:
        """What some nodes put out for some of the images: node name -> (N, ...)."""
        return {name: self._values(name, self._kept[name][chosen]) for name in names}

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """The same for all images, in order."""
        return (self.read(names, slice(*ends)) for ends in pairwise(accumulate(self._sizes, initial=0)))

    @torch.no_grad()
    def compute(self, unit: Block) -> None:
        """Compute the next unit."""
        computed: dict[str, list[Tensor]] = {name: [] for name in outputs_of(self._network.graph, unit)}
        for given in self.batches(unit.inputs):
            values = run_unit(self._network, unit, given)
            for name, parts in computed.items():
                parts.append(self._stored(name, values[name]))
        self._kept |= {name: torch.cat(parts) for name, parts in computed.items()}

    def release(self, unit: Block) -> None:
        """Let go of what is not read behind a unit."""
        needed = read_behind(self._network.graph, unit)
        self._kept = {name: values for name, values in self._kept.items() if name in needed}

    def _stored(self, name: str, values: Tensor) -> Tensor:
        quantizer = self._quantizer(name)
        if quantizer is None:
            return values
        return to_codes(values, quantizer.scale, quantizer.zero_point, quantizer.integers()).to(torch.uint8)

    def _values(self, name: str, stored: Tensor) -> Tensor:
        quantizer = self._quantizer(name)
        return stored if quantizer is None else (stored - quantizer.zero_point) * quantizer.scale

    def _quantizer(self, name: str) -> ActivationQuantizer | None:
        """Of what a node puts out; None where that is no integer code."""
        site = self._network.source(name)
        activation = None if site is None else site.activation
        return activation if isinstance(activation, ActivationQuantizer) else None
