"""A GPU's recorded training step does what the step that it records does, bit for bit."""

import copy
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from small_networks import coloured_noise, float_images, quantized, quantizers, scheme, trained
from torch import Tensor, nn

from selectq.data.device import choose_device
from selectq.data.normalization import INTEGER_GRID
from selectq.quantization.quantizers import ActivationQuantizer, follow
from selectq.training.finetune import _in_bfloat16
from selectq.training.forward import Forward, RecordedStep

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
STEPS = 4
Network = TypeVar("Network", bound=nn.Module)


def after_some_steps(network: nn.Module, forward: Forward) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The logits of each step, and parameters and statistics at the end; ranges follow the data for two steps."""
    torch.manual_seed(0)
    observers = quantizers(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    logits = []
    for index in range(STEPS):
        for quantizer in observers:
            quantizer.observing = index < STEPS // 2
        images = INTEGER_GRID(coloured_noise(8, seed=index).images.cuda())
        logits.append(forward(images))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits[-1], torch.arange(8, device="cuda") % 3).backward()
        logits[-1] = logits[-1].detach().clone()
        optimizer.step()
        follow(observers, 0.1)
    return logits, network.state_dict()


def check(network: Network, step: Callable[[Network], Forward], capsys: pytest.CaptureFixture[str]) -> None:
    device, found = choose_device(True), []
    for recorded in (False, True):
        own = copy.deepcopy(network).to(device, memory_format=torch.channels_last).train()
        found.append(after_some_steps(own, RecordedStep(own, step(own)) if recorded else step(own)))
    assert "unrecorded" not in capsys.readouterr().err
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert not torch.equal(found[0][0][0], found[0][0][-1])


@NEEDS_GPU
@pytest.mark.parametrize("bits", [4, 8])
def test_quantized(bits: int, capsys: pytest.CaptureFixture[str]) -> None:
    check(quantized(scheme(bits, bits=bits, symmetric=False)), lambda own: own, capsys)


@NEEDS_GPU
def test_fp32_with_dropout_and_statistics(capsys: pytest.CaptureFixture[str]) -> None:
    model = trained().model
    assert model.classifier[0].p > 0
    check(model, lambda own: _in_bfloat16(own, torch.device("cuda")), capsys)


class Recorder:
    """Stands in for the GPU's recorder: rehearses, and calls what it should have recorded."""

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> nn.Module:
        self.recordings += 1
        module(*arguments)
        return module


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", recorder)
    monkeypatch.setattr(torch.cuda, "get_rng_state", torch.get_rng_state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", torch.set_rng_state)
    return recorder


def observing(network: Network, count: int) -> list[ActivationQuantizer]:
    """Have the first `count` quantizers watch, and the others not."""
    for index, quantizer in enumerate(quantizers(network)):
        quantizer.observing = index < count
        quantizer.seen = None
    return quantizers(network)


def test_recorded_once_for_all_that_watch(recorder: Recorder) -> None:
    network, batch = quantized(scheme()).train(), float_images(8, seed=1)
    forward, counts = RecordedStep(network, network), [3, 3, 5, 0, 0]
    for count in counts:
        watching = observing(network, count)
        network(batch)
        expected = [quantizer.seen for quantizer in watching]
        watching = observing(network, count)
        forward(batch)
        torch.testing.assert_close([quantizer.seen for quantizer in watching], expected, rtol=0, atol=0)
        assert sum(seen is not None for seen in expected) == count
    assert recorder.recordings == 3


def test_recording_leaves_statistics_and_random_numbers_alone(recorder: Recorder) -> None:
    found = []
    for recorded in (False, True):
        model = trained().model.train()
        torch.manual_seed(0)
        forward = RecordedStep(model, model) if recorded else model
        logits = forward(float_images(8, seed=1))
        found.append((logits.detach(), model.state_dict(), torch.rand(1)))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert recorder.recordings == 1


@pytest.mark.usefixtures("recorder")
def test_what_cannot_be_recorded_is_said_once_and_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(module: nn.Module, arguments: tuple[Tensor, ...]) -> nn.Module:
        module(*arguments)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", failing)
    network, batch = quantized(scheme()).train(), float_images(8, seed=1)
    forward = RecordedStep(network, network)
    assert all(torch.equal(forward(batch), network(batch)) for _ in range(2))
    assert capsys.readouterr().err == "training unrecorded, several times as slow: operation not permitted\n"
