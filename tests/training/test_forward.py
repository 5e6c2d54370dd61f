"""Which way a training batch goes forward, and what is said where the fast one cannot be had."""

import pytest
import torch
from networks import coloured_noise, quantized, scheme
from torch import Tensor, nn

from selectq.data.augment import normalise
from selectq.kernels.build import load_kernels
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.forward import REPAID_AFTER_STEPS, Forward, Kernels, _compiled, training_forward

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def doubling(network: nn.Module) -> Forward:
    return lambda x: 2 * x


def no_step(network: nn.Module) -> Forward:
    raise AssertionError("the other device's step was asked for")


@pytest.fixture
def no_compiler(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernels.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_network_itself_trains(capsys: pytest.CaptureFixture[str]) -> None:
    network, kernels = nn.Identity(), Kernels(doubling, ("fake_quantize.cpp", "common.hpp"), no_step)
    assert training_forward(network, kernels, CPU, 10) is network
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("running without kernels, at about two thirds of the speed: there is no C++ compiler")


def test_with_kernels_their_step_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, ...]] = []
    monkeypatch.setattr("selectq.training.forward.load_kernels", lambda *sources: loaded.append(sources))
    forward = training_forward(nn.Identity(), Kernels(doubling, ("one", "two"), no_step), CPU, 10)
    assert forward(torch.tensor(3.0)) == 6.0 and loaded == [("one", "two")]


def test_on_a_gpu_only_a_long_run_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def compiling(network: nn.Module, mode: str) -> Forward:
        asked.append(mode)
        return doubling(network)

    monkeypatch.setattr(torch, "compile", compiling)
    network, kernels = nn.Identity(), Kernels(no_step, ("no.cpp",), doubling)
    assert training_forward(network, kernels, GPU, REPAID_AFTER_STEPS - 1)(torch.tensor(3.0)) == 6.0 and not asked
    forward = training_forward(network, kernels, GPU, REPAID_AFTER_STEPS)
    assert forward(torch.tensor(3.0)) == 6.0 and asked == ["reduce-overhead"]


def test_failed_compilation_is_said_once_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(x: Tensor) -> Tensor:
        raise RuntimeError("no such luck\nmore of it")

    monkeypatch.setattr(torch, "compile", lambda network, mode: failing)
    forward = _compiled(nn.Identity())
    assert [forward(torch.tensor(value)).item() for value in (3.0, 4.0)] == [3.0, 4.0]
    assert capsys.readouterr().err == "training without compilation: no such luck\n"


@pytest.mark.slow
def test_the_quantized_network_is_one_graph() -> None:
    """What a GPU would compile has no break, watched ranges included; run here on the CPU, without code generation."""
    network = quantized(scheme()).train()
    watching = [module for module in network.modules() if isinstance(module, ActivationQuantizer)]
    for quantizer in watching:
        quantizer.observing = True
    images = normalise(coloured_noise(8, seed=1).images)
    found = []
    for forward in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad()
        logits = forward(images)
        logits.sum().backward()
        seen = [quantizer.seen for quantizer in watching]
        found.append((logits, [parameter.grad for parameter in network.parameters()], seen))
    torch.testing.assert_close(found[0], found[1])
