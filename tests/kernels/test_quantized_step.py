"""The fake-quantized step by kernels gives the network's own logits, and its gradients up to rounding."""

import copy

import pytest
import torch
import torch.nn.functional as F
from small_networks import (
    calibration,
    coloured_dataset,
    coloured_noise,
    mixed_scheme,
    quantized,
    quantizers,
    scheme,
    trained,
)
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID
from selectq.kernels.fake_quantized import fake_quantized_parameters
from selectq.kernels.quantized_step import QuantizedStep
from selectq.quantization.network import ConvNode, Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantizers import follow
from selectq.quantization.scale_assignment import ScaleAssignment
from selectq.quantization.scopes import freeze_outside, parameters_in_scope
from selectq.training.forward import Forward

pytestmark = pytest.mark.usefixtures("kernels")

SCOPES = [["all"], ["depthwise", "classifier"], ["depthwise", "projection", "classifier"], ["batchnorm"], ["stem"]]


def images(count: int = 8, size: int = 16) -> Tensor:
    return INTEGER_GRID(coloured_noise(count, seed=1, size=size).images)


def step(forward: Forward, network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradients of what learns."""
    network.zero_grad(set_to_none=True)
    logits = forward(batch)
    F.cross_entropy(logits, torch.arange(len(batch), device=batch.device) % 3).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


def assert_same_step(network: Network, fast: Forward, batch: Tensor) -> None:
    own, ours = step(network, network, batch), step(fast, network, batch)
    assert torch.equal(ours[0], own[0])
    assert ours[1].keys() == own[1].keys() and own[1]
    for name, gradient in own[1].items():
        assert torch.linalg.vector_norm(ours[1][name] - gradient) <= 1e-4 * torch.linalg.vector_norm(gradient), name


@pytest.mark.parametrize("scope", SCOPES, ids="+".join)
@pytest.mark.parametrize(("bits", "symmetric"), [(8, False), (8, True), (4, True)])
def test_step_equals_the_networks_own(scope: list[str], bits: int, symmetric: bool) -> None:
    network = quantized(scheme(bits, bits=bits, symmetric=symmetric)).train()
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    assert_same_step(network, QuantizedStep(network), images())


@pytest.mark.parametrize("scope", SCOPES, ids="+".join)
def test_step_equals_the_networks_own_where_widths_differ(scope: list[str]) -> None:
    network = quantized(mixed_scheme()).train()
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    assert_same_step(network, QuantizedStep(network), images())


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("activation", ["relu", "as_is"])
def test_step_equals_the_networks_own_for_other_networks(activation: str, granularity: str) -> None:
    """Images of odd size, in a number that two threads cannot share evenly."""
    dataset, asked = coloured_dataset(), scheme(granularity=granularity)
    network = quantize(trained(activation), dataset, calibration(), asked, seed=0).train()
    assert_same_step(network, QuantizedStep(network), images(count=5, size=15))


def test_step_sees_what_the_quantizers_see() -> None:
    network = quantized(scheme()).train()
    for quantizer in quantizers(network):
        quantizer.observing = True
    network(images())
    own = [quantizer.seen for quantizer in quantizers(network)]
    QuantizedStep(network)(images())
    ours = [quantizer.seen for quantizer in quantizers(network)]
    assert len(own) == 52 + 10 + 1
    torch.testing.assert_close(ours, own)


def test_step_keeps_up_with_moving_ranges_and_weights() -> None:
    """What is kept from step to step is computed again wherever something was written to, and only there."""
    network = quantized(scheme()).train()
    fast, assignment = QuantizedStep(network), ScaleAssignment(network)
    learning = freeze_outside(network, parameters_in_scope(trained().model, ["depthwise", "classifier"]))
    optimizer = torch.optim.Adam(learning, lr=0.001, fused=True)
    for round_index in range(3):
        followed = quantizers(network)[round_index * 7]
        followed.seen = torch.tensor(0.0), torch.tensor(9.0)
        follow([followed], 0.5)
        assignment.assign()
        assert_same_step(network, fast, images())
        optimizer.step()
    network.load_state_dict(copy.deepcopy(quantized(scheme()).state_dict()))
    assert_same_step(network, fast, images())


def test_frozen_layers_are_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales that stay what they were are not written again, however often they are chosen."""
    network = quantized(scheme()).train()
    fast, assignment, rounded = QuantizedStep(network), ScaleAssignment(network), list[str]()
    freeze_outside(network, parameters_in_scope(trained().model, ["depthwise"]))

    def counted(layer: ConvNode) -> tuple[Tensor, Tensor]:
        rounded.append(layer.name)
        return fake_quantized_parameters(layer)

    monkeypatch.setattr("selectq.kernels.quantized_step.fake_quantized_parameters", counted)
    for _ in range(3):
        fast(images())
        assignment.assign()
    kinds = {layer.name: layer.kind for layer in network.layers()}
    assert len(rounded) == 52 + 2 * 17
    assert {kinds[name] for name in rounded[52:]} == {"depthwise"}


def test_evaluation_sees_the_last_step() -> None:
    network = quantized(scheme()).train()
    fast = QuantizedStep(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, fused=True)
    for _ in range(2):
        step(fast, network, images())
        optimizer.step()
    network.eval()
    for _ in range(2):
        assert torch.equal(fast(images()), network(images()))


def test_a_stale_scale_would_show() -> None:
    """Negative control: a scale that moves without being written to in place goes unnoticed."""
    network = quantized(scheme()).train()
    fast = QuantizedStep(network)
    fast(images())
    quantizer = quantizers(network)[5]
    quantizer.scale.data = quantizer.scale * 4  # of the same version as before
    assert not torch.equal(fast(images()), network(images()))


def test_evaluation_is_the_same_and_watches_nothing() -> None:
    network = quantized(scheme()).eval()
    for quantizer in quantizers(network):
        quantizer.observing = True
    with torch.no_grad():
        assert torch.equal(QuantizedStep(network)(images()), network(images()))
    assert all(quantizer.seen is None for quantizer in quantizers(network))


def test_number_of_threads_does_not_change_logits() -> None:
    network, threads = quantized(scheme()).eval(), torch.get_num_threads()
    with torch.no_grad():
        one = QuantizedStep(network)(images())
        torch.set_num_threads(2)
        two = QuantizedStep(network)(images())
    torch.set_num_threads(threads)
    assert torch.equal(one, two)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [8, 4])
def test_parameters_equal_the_quantizers_to_the_bit(bits: int, granularity: str) -> None:
    """Also where a channel is dead, a bias is far larger than its weights, and a value lies on a rounding tie."""
    network = quantized(scheme(bits, granularity=granularity))
    generator = torch.Generator().manual_seed(0)
    for layer in network.layers():
        with torch.no_grad():
            layer.weight.normal_(generator=generator)
            layer.weight[0], layer.weight[1] = 0.0, 1e-7
            layer.weight[2] = torch.randint(-254, 255, layer.weight[2].shape, generator=generator) / 2
        ScaleAssignment(network).assign()
        own = layer.weight_quantizer(layer.weight, layer.bias)
        assert all(map(torch.equal, fake_quantized_parameters(layer), own)), layer.name
