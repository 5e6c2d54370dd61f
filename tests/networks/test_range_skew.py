"""Skewed ranges: the function stays, the ranges do not."""

from pathlib import Path

import pytest
import torch
from small_networks import model_config, random_network, same_tensors, trained
from torchvision.models import MobileNetV2

from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.networks.checkpoint import write_fp32
from selectq.networks.range_skew import read_skewed, skew_ranges
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode


def images() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(0))


def channel_peaks(model: MobileNetV2, name: str) -> torch.Tensor:
    """The largest output of each channel of a convolution, (O,)."""
    fused = fold(model)
    (layer,) = (layer for layer in fused.layers() if isinstance(layer, ConvNode) and layer.name == name)
    peaks: list[torch.Tensor] = []
    layer.register_forward_hook(lambda module, arguments, output: peaks.append(output.amax((0, 2, 3))))
    with torch.no_grad():
        fused(images())
    return peaks[0]


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 3.0])
def test_relu_network_keeps_its_function(sigma: float) -> None:
    model = random_network(model_config(), seed=1)
    with torch.no_grad():
        before = model(images())
        skew_ranges(model, capture(model), sigma, seed=7)
        assert (model(images()) - before).norm() < 1e-11 * before.norm()


def test_relu6_network_has_nothing_to_skew() -> None:
    model = random_network(model_config("as_is"), seed=1)
    with pytest.raises(UserError, match=r"^range_skew: 1 needs two layers with nothing but a ReLU between them"):
        skew_ranges(model, capture(model), 1.0, seed=7)


@pytest.mark.parametrize("name", ["features.1.conv.0.0", "features.14.conv.0.0", "features.14.conv.1.0"])
def test_channels_between_the_convolutions_of_a_block_are_scaled_log_normally(name: str) -> None:
    model = random_network(model_config(), seed=1)
    before = channel_peaks(model, name)
    skew_ranges(model, capture(model), 1.0, seed=7)
    alive = before > 0
    factors = (channel_peaks(model, name)[alive] / before[alive]).log()
    assert abs(factors.mean().item()) < 0.6
    assert 0.6 < factors.std().item() < 1.4


@pytest.mark.parametrize("name", ["features.0.0", "features.14.conv.2", "features.18.0"])
def test_channels_between_blocks_are_not(name: str) -> None:
    model = random_network(model_config(), seed=1)
    before = channel_peaks(model, name)
    skew_ranges(model, capture(model), 1.0, seed=7)
    assert torch.allclose(channel_peaks(model, name), before, rtol=1e-9)


def test_factors_depend_on_the_seed_alone() -> None:
    one, same, other = (random_network(model_config(), seed=1) for _ in range(3))
    graph = capture(one)
    skew_ranges(one, graph, 1.0, seed=7)
    torch.rand(3)  # the global generator has no part in it
    skew_ranges(same, graph, 1.0, seed=7)
    skew_ranges(other, graph, 1.0, seed=8)
    assert same_tensors(one, same)
    assert not same_tensors(one, other)


def test_checkpoint_is_read_with_skewed_ranges_and_the_same_function(tmp_path: Path) -> None:
    write_fp32(tmp_path / "fp32", trained())
    plain, skewed = (read_skewed(tmp_path / "fp32", sigma, seed=0).model for sigma in (0.0, 1.0))
    assert same_tensors(plain, trained().model)
    assert not same_tensors(plain, skewed)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(plain(x), skewed(x), rtol=1e-3, atol=1e-3)
