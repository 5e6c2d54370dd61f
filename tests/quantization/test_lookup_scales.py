"""Scales of what sigmoids read and store: at no integer code is their result near a rounding tie."""

import pytest
import torch
from small_networks import scheme
from torch import Tensor, nn

from selectq.quantization import scale_assignment
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import insert_quantizers
from selectq.quantization.scale_assignment import quantizer_of
from selectq.quantization.scales import LOOKUP_MARGIN, is_near_tie

HIGHEST = [*torch.linspace(0.5, 20, 40).tolist(), 6.80451, 11.39850, 16.67669]
"""At the last three, plain scales have a gate meet ties; at some of the others, a sigmoid."""


class Gated(nn.Module):
    """A SiLU, and behind a convolution a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.silu, self.conv, self.sigmoid = nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 1), nn.Sigmoid()
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.sigmoid(self.conv(self.silu(self.stem(x))))).flatten(1))
        return logits


def assigned(high: float) -> Network:
    network = fold(Gated())
    ranges = {site.name: (torch.tensor(-1.0), torch.tensor(high)) for site in network.sites()}
    ranges["sigmoid"] = torch.tensor(0.0), torch.tensor(high).sigmoid()
    insert_quantizers(network, scheme(), ranges)
    return network


def nearest(network: Network) -> float:
    """How near the gate of the SiLU, or the sigmoid, comes to a rounding tie, in integer steps."""
    codes = torch.arange(256, dtype=torch.double)
    results = []
    for source, step in (("stem", 1 / 256), ("conv", quantizer_of(network["sigmoid"]).scale.double())):
        read = quantizer_of(network[source])
        results.append(((codes - read.zero_point) * read.scale).sigmoid() / step)
    steps = torch.cat(results)
    return ((steps - steps.floor()) - 0.5).abs()[steps < 255.5].min().item()


def test_no_code_is_near_a_tie() -> None:
    assert min(nearest(assigned(high)) for high in HIGHEST) >= 0.99 * LOOKUP_MARGIN


def test_scales_grow_no_more_than_needed() -> None:
    for high in HIGHEST:
        wanted, found = (high + 1) / 255, quantizer_of(assigned(high)["stem"]).scale.item()
        assert wanted * 0.999999 <= found < wanted * 1.02


def test_plain_scales_would_meet_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(scale_assignment, "is_near_tie", lambda results: False)
    assert min(nearest(assigned(high)) for high in HIGHEST) < LOOKUP_MARGIN / 2


def test_what_saturates_is_near_no_tie() -> None:
    assert is_near_tie(torch.tensor([3.5], dtype=torch.double))
    assert is_near_tie(torch.tensor([1.0, 3.5 + LOOKUP_MARGIN / 2], dtype=torch.double))
    assert not is_near_tie(torch.tensor([3.5 + 2 * LOOKUP_MARGIN, 300.5], dtype=torch.double))
