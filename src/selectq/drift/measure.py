"""Drift of every block and every layer, in one streaming pass over the images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.quantization.fused import FusedMobileNetV2

DRIFT_COLUMNS = ["config", "index", "layer", "layer_kind", "kind", "drift"]


@dataclass
class RelativeError:
    """||a - b||₂ / ||a||₂ over everything shown, accumulated in double precision."""

    difference: float = 0.0
    reference: float = 0.0

    def add(self, reference: Tensor, other: Tensor) -> None:
        """Take in a batch of both, of equal shape."""
        self.difference += _sum_of_squares(reference - other)
        self.reference += _sum_of_squares(reference)

    def value(self) -> float:
        """The ratio, 0 where both are zero everywhere."""
        return (self.difference / self.reference) ** 0.5 if self.reference else float(self.difference > 0)


def _sum_of_squares(x: Tensor) -> float:
    """Of 64 values at a time in single precision, as they lie in memory; the rest in double precision."""
    values = x.permute(0, 2, 3, 1).flatten() if x.ndim == 4 else x.flatten()
    whole = len(values) // 64 * 64
    sums = torch.linalg.vector_norm(values[:whole].view(-1, 64), dim=1).double().square().sum()
    return (sums + torch.linalg.vector_norm(values[whole:]).double().square()).item()


@dataclass
class Unit:
    """A block or a layer whose output is compared: in the float network and in the quantized one."""

    index: int
    layer: str
    layer_kind: str
    float_module: nn.Module
    quantized_module: nn.Module
    accumulated: RelativeError = field(default_factory=RelativeError)
    isolated: RelativeError = field(default_factory=RelativeError)


def pair_units(float_network: FusedMobileNetV2, quantized: FusedMobileNetV2) -> list[Unit]:
    """The 19 blocks (stem, 17 inverted residuals, head), then the 52 convolutions and the classifier."""
    blocks = zip(float_network.features, quantized.features, strict=True)
    units = [Unit(index, f"features.{index}", "block", *pair) for index, pair in enumerate(blocks)]
    layers = zip(float_network.fused_layers(), quantized.fused_layers(), strict=True)
    return units + [Unit(index, pair[0].name, pair[0].kind, *pair) for index, pair in enumerate(layers)]


@torch.no_grad()
def measure_drift(
    float_network: FusedMobileNetV2, quantized: Mapping[str, FusedMobileNetV2], batches: Iterable[Tensor]
) -> pd.DataFrame:
    """Drift(l) = ||A_fp32 - A_int8||₂ / ||A_fp32||₂ of the layer's stored output (the paper, section 3.2).

    Two kinds: `accumulated`, where the whole network is quantized, shows where the error is; `isolated`, where this
    block or layer alone is quantized and its input is the float network's, shows where it starts.

    Args:
        float_network: the parent in its float form.
        quantized: configuration name -> its fake-quantized network.
        batches: float (B, 3, H, W), each seen once; memory does not grow with their number.

    Returns:
        Columns config, index (position in the network; blocks and layers count apart), layer, layer_kind, kind, drift.
    """
    units = {name: pair_units(float_network, network) for name, network in quantized.items()}
    for batch in batches:
        inputs, outputs = _record(float_network, batch)
        for name, network in quantized.items():
            _compare(network, batch, units[name], inputs, outputs)
    rows = [
        (name, unit.index, unit.layer, unit.layer_kind, kind, getattr(unit, kind).value())
        for name in quantized
        for kind in ("accumulated", "isolated")
        for unit in units[name]
    ]
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)


Recorded = dict[nn.Module, Tensor]


def _record(network: FusedMobileNetV2, batch: Tensor) -> tuple[Recorded, Recorded]:
    """Every block's and layer's input and output for one batch."""
    inputs: Recorded = {}
    outputs: Recorded = {}

    def keep(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        inputs[module], outputs[module] = arguments[0], output

    watched = [*network.features, *network.fused_layers()]
    handles = [module.register_forward_hook(keep) for module in set(watched)]
    network(batch)
    for handle in handles:
        handle.remove()
    return inputs, outputs


def _compare(network: FusedMobileNetV2, batch: Tensor, units: list[Unit], inputs: Recorded, outputs: Recorded) -> None:
    """Add one batch to both kinds of drift of every unit."""
    for unit in units:
        reference = outputs[unit.float_module]
        unit.isolated.add(reference, unit.quantized_module(inputs[unit.float_module]))
    handles = [
        unit.quantized_module.register_forward_hook(
            lambda module, arguments, output, unit=unit: unit.accumulated.add(outputs[unit.float_module], output)
        )
        for unit in units
    ]
    network(batch)
    for handle in handles:
        handle.remove()
