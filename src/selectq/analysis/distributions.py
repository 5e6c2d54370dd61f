"""What a quantizer sees in one layer: ranges per channel before, integers after (the paper's figures 3 and 4)."""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.quantization.network import ConvNode, Network
from selectq.quantization.scale_assignment import quantizer_of, weight_quantizer_of

OFFSET = 256
"""All integers of 8 bits, signed or not, lie between minus this and this."""


@torch.no_grad()
def channel_ranges(network: Network, names: Iterable[str], batches: Iterable[Tensor]) -> pd.DataFrame:
    """Columns layer, channel, low, high: each channel's extreme outputs in the float network, one streaming pass."""
    inspected, extremes = set(names), dict[str, tuple[Tensor, Tensor]]()

    def widen(layer: nn.Module, output: Tensor) -> None:
        if isinstance(layer, ConvNode) and layer.name in inspected:
            low, high = output.amin((0, 2, 3)), output.amax((0, 2, 3))  # (O,)
            lowest, highest = extremes.get(layer.name, (low, high))
            extremes[layer.name] = torch.minimum(low, lowest), torch.maximum(high, highest)

    for batch in batches:
        network.watched(batch, widen)
    rows = [
        (name, channel, low, high)
        for name, (lows, highs) in extremes.items()
        for channel, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True))
    ]
    return pd.DataFrame(rows, columns=["layer", "channel", "low", "high"])


@torch.no_grad()
def level_histograms(network: Network, names: Iterable[str], batches: Iterable[Tensor]) -> pd.DataFrame:
    """Columns layer, tensor (`weight` or `activation`), level, share: how often each integer is used.

    Args:
        network: fake-quantized.
        names: of convolutions.
        batches: float (B, 3, H, W), each seen once; memory does not grow with their number.
    """
    layers = [network[name] for name in names]
    stored = _count_stored(network, layers, batches)
    rows = []
    for layer in layers:
        for tensor, counts in (("weight", _count(weight_codes(layer))), ("activation", stored[layer])):
            shares = (counts / counts.sum()).tolist()
            rows += [(layer.name, tensor, level - OFFSET, share) for level, share in enumerate(shares) if share]
    return pd.DataFrame(rows, columns=["layer", "tensor", "level", "share"])


def weight_codes(layer: ConvNode) -> Tensor:
    """The integers that stand for a layer's weights, as float (O, I / groups, kH, kW)."""
    return weight_quantizer_of(layer).codes(layer.weight, layer.bias)[0]


def _count_stored(network: Network, layers: list[ConvNode], batches: Iterable[Tensor]) -> dict[nn.Module, Tensor]:
    """How often each layer stores each integer."""
    counts = dict[nn.Module, Tensor]()

    def add(layer: nn.Module, output: Tensor) -> None:
        if isinstance(layer, ConvNode) and layer in layers:
            quantizer = quantizer_of(layer)
            counts[layer] = counts.get(layer, 0) + _count(output / quantizer.scale + quantizer.zero_point)

    for batch in batches:
        network.watched(batch, add)
    return counts


def _count(codes: Tensor) -> Tensor:
    """How often each integer from -`OFFSET` occurs."""
    return (codes.flatten().round().to(torch.int64) + OFFSET).bincount(minlength=2 * OFFSET)
