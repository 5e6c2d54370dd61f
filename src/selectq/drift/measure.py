"""Drift of every block and every layer, in one streaming pass over the images."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.quantization.fused import FusedBlock, FusedConv2d, FusedLinear, FusedMobileNetV2, Watch

Module = FusedBlock | FusedConv2d | FusedLinear
"""Drift is measured for blocks and layers."""

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
    """A block or a layer whose output is compared: in the float network and in the quantized one."""

    index: int
    layer: str
    layer_kind: str
    float_module: Module
    quantized_module: Module
    accumulated: RelativeError = field(default_factory=RelativeError)
    isolated: RelativeError = field(default_factory=RelativeError)


def pair_units(float_network: FusedMobileNetV2, quantized: FusedMobileNetV2) -> list[Unit]:
    """The 19 blocks (stem, 17 inverted residuals, head), then the 52 convolutions and the classifier."""
    blocks = zip(float_network.blocks(), quantized.blocks(), strict=True)
    units = [Unit(index, f"features.{index}", "block", *pair) for index, pair in enumerate(blocks)]
    layers = zip(float_network.fused_layers(), quantized.fused_layers(), strict=True)
    return units + [Unit(index, pair[0].name, pair[0].kind, *pair) for index, pair in enumerate(layers)]


class Simulation(Protocol):
    """A quantized network's forward pass, whole and by parts; see `FusedMobileNetV2`, which is one of its own."""

    def watched(self, x: Tensor, watch: Watch) -> Tensor:
        """The whole pass, in which `watch` is shown every block and layer."""

    def part(self, module: Module, x: Tensor) -> Tensor:
        """The output of one block or layer for its input."""


def plainly(network: FusedMobileNetV2) -> Simulation:
    """The network's own forward pass."""
    return network


@torch.no_grad()
def measure_drift(
    float_network: FusedMobileNetV2,
    quantized: FusedMobileNetV2,
    batches: Iterable[Tensor],
    simulate: Callable[[FusedMobileNetV2], Simulation] = plainly,
) -> pd.DataFrame:
    """Drift(l) = ||A_fp32 - A_int8||₂ / ||A_fp32||₂ of the layer's stored output (the paper, section 3.2).

    Two kinds: `accumulated`, where the whole network is quantized, shows where the error is; `isolated`, where this
    block or layer alone is quantized and its input is the float network's, shows where it starts.

    Args:
        float_network: the parent in its float form.
        quantized: the same network, fake-quantized; its weights may have been retrained.
        batches: float (B, 3, H, W), each seen once; memory does not grow with their number.
        simulate: what computes a quantized network's forward pass.

    Returns:
        Columns index (position in the network; blocks and layers count apart), layer, layer_kind, kind, drift.
    """
    units = pair_units(float_network, quantized)
    simulation = simulate(quantized)
    for batch in batches:
        inputs, outputs = _record(float_network, batch)
        _compare(simulation, batch, units, inputs, outputs)
    rows = [
        (unit.index, unit.layer, unit.layer_kind, kind, getattr(unit, kind).value())
        for kind in ("accumulated", "isolated")
        for unit in units
    ]
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)


def _record(network: FusedMobileNetV2, batch: Tensor) -> tuple[dict[Module, Tensor], dict[Module, Reference]]:
    """Every block's and layer's input and output for one batch."""
    inputs: dict[Module, Tensor] = {}
    outputs: dict[Module, Reference] = {}

    def keep(module: Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        inputs[module], outputs[module] = arguments[0], Reference(output)

    handles = [module.register_forward_hook(keep) for module in {*network.blocks(), *network.fused_layers()}]
    network(batch)
    for handle in handles:
        handle.remove()
    return inputs, outputs


def _compare(
    simulation: Simulation,
    batch: Tensor,
    units: list[Unit],
    inputs: dict[Module, Tensor],
    outputs: dict[Module, Reference],
) -> None:
    """Add one batch to both kinds of drift of every unit."""

    def watch(module: nn.Module, output: Tensor) -> None:
        for unit in units:
            if unit.quantized_module is module:
                unit.accumulated.add(outputs[unit.float_module], output)

    simulation.watched(batch, watch)
    for unit in units:
        found = simulation.part(unit.quantized_module, inputs[unit.float_module])
        unit.isolated.add(outputs[unit.float_module], found)
