"""The FP32 step by kernels gives what the network gives, as exactly as single precision can."""

import copy

import known_networks
import pytest
import torch
import torch.nn.functional as F
from small_networks import coloured_noise, model_config, same_tensors
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID
from selectq.graph.bounds import RELU, RELU6, UNBOUNDED, Bounds
from selectq.kernels.float_step import FloatStep
from selectq.networks.build import build_network
from selectq.training.forward import Forward

pytestmark = pytest.mark.usefixtures("kernels")

Result = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
"""Logits, gradients and buffers after one training step's forward and backward pass."""


def network(activation: str, strides_removed: int) -> nn.Module:
    torch.manual_seed(3)
    model = build_network(model_config(activation, strides_removed, width_mult=1.0), 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after some training: no mean of 0, no weight of 1
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    model.classifier[0].p = 0.0  # dropout is drawn anew at every call
    return model.train()


def step(forward: Forward, model: nn.Module, images: Tensor) -> Result:
    logits = forward(images)
    F.cross_entropy(logits, torch.arange(len(images)) % 3).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return logits.detach(), gradients, dict(model.named_buffers())


def relative_error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Over all tensors together, so that one that should be 0 weighs nothing."""
    assert found.keys() == exact.keys()
    difference = sum((found[name].double() - exact[name].double()).square().sum() for name in exact)
    return float((difference / sum(tensor.double().square().sum() for tensor in exact.values())).sqrt())


@pytest.mark.parametrize("activation", ["relu", "as_is"])
@pytest.mark.parametrize(("strides_removed", "size", "images"), [(0, 32, 16), (1, 15, 29)])
def test_step_is_the_networks_own(activation: str, strides_removed: int, size: int, images: int) -> None:
    plain = network(activation, strides_removed)
    exact, fast = copy.deepcopy(plain).double(), copy.deepcopy(plain)
    pixels = INTEGER_GRID(coloured_noise(images, seed=1, size=size).images)
    truth = step(exact, exact, pixels.double())
    ours = step(FloatStep(fast), fast, pixels)
    assert relative_error({"logits": ours[0]}, {"logits": truth[0]}) < 1e-4
    assert relative_error(ours[1], truth[1]) < 0.03, "a ReLU that rounding turns over is felt in all layers before it"
    assert relative_error(ours[2], truth[2]) < 1e-5


CLAMPS = {UNBOUNDED: nn.Identity(), RELU: nn.ReLU(), RELU6: nn.ReLU6()}
KINDS = {
    "pointwise": nn.Conv2d(24, 40, 1, bias=False),
    "depthwise": nn.Conv2d(40, 40, 3, 1, 1, groups=40, bias=False),
    "depthwise, stride 2": nn.Conv2d(40, 40, 3, 2, 1, groups=40, bias=False),
    "depthwise, 5 x 5": nn.Conv2d(40, 40, 5, 1, 2, groups=40, bias=False),
    "depthwise, 5 x 5, stride 2": nn.Conv2d(40, 40, 5, 2, 2, groups=40, bias=False),
    "convolved elsewhere": nn.Conv2d(3, 24, 3, 2, 1, bias=False),
}


@pytest.mark.parametrize("bounds", [UNBOUNDED, RELU, RELU6])
@pytest.mark.parametrize("kind", KINDS)
def test_layer_has_the_exact_gradients(kind: str, bounds: Bounds) -> None:
    """One layer with channels that fill no whole vector, against torch in double precision."""
    torch.manual_seed(5)
    conv, norm = KINDS[kind], nn.BatchNorm2d(KINDS[kind].out_channels)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias, -1.0, 5.0)
    exact_conv, exact_norm = copy.deepcopy(conv).double(), copy.deepcopy(norm).double()
    x = torch.randn(5, conv.in_channels, 7, 9).to(memory_format=torch.channels_last)
    ours, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    y = FloatStep(nn.Sequential(conv, norm, CLAMPS[bounds]))(ours)
    truth = exact_norm(exact_conv(exact)).clamp(bounds.low, bounds.high)
    gradient = torch.randn_like(y)
    conv.zero_grad()
    y.backward(gradient)
    truth.backward(gradient.double())
    pairs = [(ours.grad, exact.grad), (conv.weight.grad, exact_conv.weight.grad), (y, truth)]
    pairs += [(norm.weight.grad, exact_norm.weight.grad), (norm.bias.grad, exact_norm.bias.grad)]
    pairs += [(norm.running_mean, exact_norm.running_mean), (norm.running_var, exact_norm.running_var)]
    for found, expected in pairs:
        assert found is not None and expected is not None
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert norm.num_batches_tracked == exact_norm.num_batches_tracked == 1


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x1_0", "efficientnet_b0"])
def test_step_of_other_networks_is_their_own(name: str) -> None:
    """With whatever is drawn at random, in numbers of the same precision, and sums in place."""
    plain = known_networks.build(name, 3).train()
    fast = copy.deepcopy(plain)
    pixels = torch.randn(16, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    truth, ours = seeded_step(plain, plain, pixels), seeded_step(FloatStep(fast), fast, pixels)
    assert relative_error({"logits": ours[0]}, {"logits": truth[0]}) < 1e-4
    assert relative_error(ours[1], truth[1]) < 0.03
    assert relative_error(ours[2], truth[2]) < 1e-5


def test_what_there_are_no_kernels_for_is_not_served() -> None:
    assert FloatStep.serves(known_networks.build("resnet18"))
    assert not FloatStep.serves(known_networks.build("squeezenet1_1")), "no batch norms"


@pytest.mark.parametrize("change", ["bias", "dilation", "averaging", "statistics", "padding_mode"])
def test_what_the_kernels_do_not_compute_is_left_to_torch(change: str) -> None:
    convs = {"bias": nn.Conv2d(8, 8, 1), "dilation": nn.Conv2d(8, 8, 3, 1, 2, dilation=2, groups=8, bias=False)}
    convs["padding_mode"] = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", bias=False)
    norms = {"averaging": nn.BatchNorm2d(8, momentum=None), "statistics": nn.BatchNorm2d(8, track_running_stats=False)}
    conv = convs.get(change, nn.Conv2d(8, 8, 1, bias=False))
    assert not FloatStep.serves(nn.Sequential(conv, norms.get(change, nn.BatchNorm2d(8))))


def seeded_step(forward: Forward, model: nn.Module, images: Tensor) -> Result:
    torch.manual_seed(0)
    return step(forward, model, images)


def test_wrong_running_statistics_would_show() -> None:
    """Negative control: the comparison notices a momentum that is off by a tenth."""
    plain, other = network("relu", 0), network("relu", 0)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.11
    pixels = INTEGER_GRID(coloured_noise(8, seed=1).images)
    own, changed = step(plain, plain, pixels), step(FloatStep(other), other, pixels)
    assert relative_error(changed[2], own[2]) > 1e-3


def test_same_bits_every_time() -> None:
    pixels = INTEGER_GRID(coloured_noise(8, seed=1).images)
    first, second = network("relu", 0), network("relu", 0)
    one, other = step(FloatStep(first), first, pixels), step(FloatStep(second), second, pixels)
    assert torch.equal(one[0], other[0]) and same_tensors(first, second)
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
