"""Drift of every block and every layer, in one streaming pass over the images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.graph.nodes import PIXELS, Conv, Linear, Lookup, Mul
from selectq.quantization.network import ConvNode, Network, NodeModule, Watch

DRIFT_COLUMNS = ["index", "layer", "layer_kind", "kind", "drift"]


@dataclass
class RelativeError:
    """||a - b||₂ / ||a||₂ over everything shown, accumulated in double precision."""

    difference: float = 0.0
    reference: float = 0.0

    def add(self, reference: "Reference", other: Tensor) -> None:
        """Take in a batch of both, of equal shape."""
        self.difference += sum_of_squares(reference.values - other)
        self.reference += reference.squares

    def value(self) -> float:
        """The ratio, 0 where both are zero everywhere."""
        return (self.difference / self.reference) ** 0.5 if self.reference else float(self.difference > 0)


def sum_of_squares(x: Tensor) -> float:
    """The sum of squares: 64 neighbours in memory are added in single precision, their sums in double."""
    values = x.permute(0, 2, 3, 1).flatten() if x.ndim == 4 else x.flatten()
    whole = len(values) // 64 * 64
    sums = torch.linalg.vector_norm(values[:whole].view(-1, 64), dim=1).double().square().sum()
    return (sums + torch.linalg.vector_norm(values[whole:]).double().square()).item()


class Reference:
    """An output of the float network for a batch, and the sum of its squares."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.squares = sum_of_squares(values)


@dataclass
class Unit:
    """A block, a layer or a function whose output is compared: of the float network and of the quantized one.

    Attributes:
        index: position in the network; blocks and layers count apart.
        layer: name.
        layer_kind: `block`, or the kind of the layer.
        output: the node that gives the unit's output.
        inputs: the nodes that it reads.
    """

    index: int
    layer: str
    layer_kind: str
    output: str
    inputs: tuple[str, ...]
    accumulated: RelativeError = field(default_factory=RelativeError)
    isolated: RelativeError = field(default_factory=RelativeError)


def units_of(network: Network) -> list[Unit]:
    """The blocks with convolutions (MobileNetV2's: stem, 17 inverted residuals, head), then all layers, and what else
    squeeze-excite and activation functions consist of: products and lookups."""
    convolutional = {layer.node.block for layer in network.layers() if isinstance(layer, ConvNode)}
    blocks = [block for block in network.blocks() if block.name in convolutional]
    units = [Unit(index, each.name, "block", each.output, each.inputs) for index, each in enumerate(blocks)]
    single = [node for node in network.graph.nodes if isinstance(node.operation, Conv | Linear | Mul | Lookup)]
    units += [Unit(index, node.name, node.kind, node.name, node.inputs) for index, node in enumerate(single)]
    return units


class Simulation(Protocol):
    """A quantized network's forward pass, whole and by parts; see `Network`, which is one of its own."""

    def watched(self, x: Tensor, watch: Watch) -> Tensor:
        """The whole pass, in which `watch` is shown every node."""

    def compute(self, name: str, given: Mapping[str, Tensor]) -> Tensor:
        """The output of the node `name`, from what some nodes before it put out."""


def plainly(network: Network) -> Simulation:
    """The network's own forward pass."""
    return network


@torch.no_grad()
def measure_drift(
    float_network: Network,
    quantized: Network,
    batches: Iterable[Tensor],
    simulate: Callable[[Network], Simulation] = plainly,
) -> pd.DataFrame:
    """Drift(l) = ||A_fp32 - A_int8||₂ / ||A_fp32||₂ of the layer's stored output (the paper, section 3.2).

    Two kinds: `accumulated`, where the whole network is quantized, shows where the error is; `isolated`, where this
    block or layer alone is quantized and its input is the float network's, shows where it starts.

    Args:
        float_network: the FP32 model in its float form.
        quantized: the same network, fake-quantized; its weights may have been retrained.
        batches: float (B, 3, H, W), each seen once; memory does not grow with their number.
        simulate: what computes a quantized network's forward pass.

    Returns:
        Columns index (position in the network; blocks and layers count apart), layer, layer_kind, kind, drift.
    """
    units, simulation = units_of(float_network), simulate(quantized)
    needed = {name for unit in units for name in (unit.output, *unit.inputs)}
    for batch in batches:
        outputs = _record(float_network, batch, needed)
        _compare(simulation, batch, units, outputs)
    rows = [
        (unit.index, unit.layer, unit.layer_kind, kind, getattr(unit, kind).value())
        for kind in ("accumulated", "isolated")
        for unit in units
    ]
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)


def _record(network: Network, batch: Tensor, names: set[str]) -> dict[str, Reference]:
    """What some nodes put out for one batch."""
    outputs = {PIXELS: Reference(batch)}

    def keep(module: nn.Module, output: Tensor) -> None:
        assert isinstance(module, NodeModule)
        if module.name in names:
            outputs[module.name] = Reference(output)

    network.watched(batch, keep)
    return outputs


def _compare(simulation: Simulation, batch: Tensor, units: list[Unit], outputs: dict[str, Reference]) -> None:
    """Add one batch to both kinds of drift of every unit."""
    by_output: dict[str, list[Unit]] = {}
    for unit in units:
        by_output.setdefault(unit.output, []).append(unit)

    def watch(module: nn.Module, output: Tensor) -> None:
        assert isinstance(module, NodeModule)
        for unit in by_output.get(module.name, []):
            unit.accumulated.add(outputs[unit.output], output)

    simulation.watched(batch, watch)
    for unit in units:
        found = simulation.compute(unit.output, {name: outputs[name].values for name in unit.inputs})
        unit.isolated.add(outputs[unit.output], found)
