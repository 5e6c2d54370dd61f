"""Which way a training batch goes forward, and what is said where the fast one cannot be had."""

import pytest
import torch
from exported_networks import quantized
from known_networks import build
from small_networks import coloured_noise, quantizers, scheme
from torch import nn

from selectq.data.normalization import INTEGER_GRID
from selectq.kernels.build import load_kernels
from selectq.kernels.forward import _say
from selectq.training.forward import Forward, Kernels, RecordedStep, training_forward

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def doubling(network: nn.Module) -> Forward:
    return lambda x: 2 * x


def no_step(network: nn.Module) -> Forward:
    raise AssertionError("the other device's step was asked for")


@pytest.fixture
def no_compiler(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernels.cache_clear()
    _say.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_network_itself_trains(capsys: pytest.CaptureFixture[str]) -> None:
    network, kernels = nn.Identity(), Kernels(doubling, ("fake_quantize.cpp", "common.hpp"))
    assert training_forward(network, kernels, CPU) is network
    training_forward(network, kernels, CPU)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("running without kernels, more slowly: there is no C++ compiler")


def test_with_kernels_their_step_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, ...]] = []
    monkeypatch.setattr("selectq.kernels.forward.load_kernels", lambda *sources: loaded.append(sources))
    forward = training_forward(nn.Identity(), Kernels(doubling, ("one", "two")), CPU)
    assert forward(torch.tensor(3.0)) == 6.0 and loaded == [("one", "two")]


def test_a_gpu_records_the_network_itself() -> None:
    network = nn.Identity()
    forward = training_forward(network, Kernels(no_step, ("no.cpp",)), GPU)
    assert isinstance(forward, RecordedStep) and forward._network is network
    assert forward._step is network


@pytest.mark.slow
def test_the_quantized_network_is_one_graph() -> None:
    """Compiled, as a peer of the benchmark, it has no break, watched ranges included; here without code generation."""
    network = quantized(build("plain", 3), scheme()).train()
    watching = quantizers(network)
    for quantizer in watching:
        quantizer.observing = True
    images = INTEGER_GRID(coloured_noise(8, seed=1).images)
    found = []
    for forward in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad()
        logits = forward(images)
        logits.sum().backward()
        seen = [quantizer.seen for quantizer in watching]
        found.append((logits, [parameter.grad for parameter in network.parameters()], seen))
    torch.testing.assert_close(found[0], found[1])
