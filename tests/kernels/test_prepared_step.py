"""The step that a GPU takes gives the network's own logits, bit for bit, and its gradients; on the CPU, too."""

import copy

import pytest
import torch
from small_networks import coloured_noise, quantized, quantizers, scheme, trained
from test_quantized_step import SCOPES, step

from selectq.data.augment import normalise
from selectq.kernels.prepared_step import PreparedStep
from selectq.quantization.fake_quantize import Grid, _FakeQuantize, fake_quantize_channels, fake_quantize_fused
from selectq.quantization.scopes import freeze_outside, parameters_in_scope
from selectq.training.device import tensor_float32

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("scope", SCOPES, ids="+".join)
@pytest.mark.parametrize(("bits", "symmetric"), [(8, False), (4, True)])
def test_step_equals_the_networks_own(scope: list[str], bits: int, symmetric: bool, device: str) -> None:
    network = quantized(scheme(bits, bits=bits, symmetric=symmetric)).train()
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    network.to(device)
    batch = normalise(coloured_noise(8, seed=1).images).to(device)
    with tensor_float32(False):
        own, ours = step(network, network, batch), step(PreparedStep(network), network, batch)
    assert torch.equal(ours[0], own[0])
    rounding = 0.0 if device == "cpu" else 1e-3  # a GPU adds up gradients in no fixed order
    for name, gradient in own[1].items():
        assert torch.linalg.vector_norm(ours[1][name] - gradient) <= rounding * torch.linalg.vector_norm(gradient), name


def test_step_sees_what_the_quantizers_see(device: str) -> None:
    network = quantized(scheme()).train().to(device)
    for quantizer in quantizers(network):
        quantizer.observing = True
    batch, found = normalise(coloured_noise(8, seed=1).images).to(device), []
    for forward in (network, PreparedStep(network)):
        forward(batch)
        found.append([quantizer.seen for quantizer in quantizers(network)])
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_simulates_the_cpus_levels() -> None:
    """Logits differ by the order of sums alone."""
    network = quantized(scheme())
    batch = normalise(coloured_noise(8, seed=1).images)
    with tensor_float32(False):
        on_gpu = PreparedStep(copy.deepcopy(network).cuda())(batch.cuda()).cpu()
    torch.testing.assert_close(on_gpu, network(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", [Grid(0, 255), Grid(128, 255), Grid(0, 15)], ids=str)
def test_torchs_operator_quantizes_as_ours_does(grid: Grid, device: str) -> None:
    """Ties, both ends, and the gradient at them."""
    zero_point = torch.tensor(float(grid.quant_min if grid.quant_min else 3), device=device)
    scale = torch.tensor(0.037, device=device)
    ties = (torch.arange(-6, 300, device=device) / 2) * scale
    found = []
    for quantize in (fake_quantize_fused, _FakeQuantize.apply):
        x = torch.cat([ties, torch.randn(10_000, generator=torch.Generator().manual_seed(0)).to(device) * 5])
        x.requires_grad_()
        y = quantize(x, scale, zero_point, grid)
        y.backward(torch.ones_like(y))
        found.append((y.detach(), x.grad))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_torchs_operator_quantizes_channels_as_ours_does(device: str) -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)).to(device)
    scale = torch.linspace(0.01, 0.05, 6, device=device)
    ours = _FakeQuantize.apply(weight, scale.view(-1, 1, 1, 1), torch.zeros((), device=device), Grid(-7, 7))
    assert torch.equal(fake_quantize_channels(weight, scale, Grid(-7, 7)), ours)
