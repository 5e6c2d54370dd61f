"""The modules that quantize: what they put out is the fake quantization of the activated value, on the right grid."""

import math

import pytest
import torch
from small_networks import quantized, scheme
from torch import Tensor

from selectq.config.configs import ActivationScheme
from selectq.graph.bounds import Bounds
from selectq.quantization.fake_quantize import IntegerRange, activation_integers, fake_quantize
from selectq.quantization.network import FloatActivation
from selectq.quantization.quantizers import ActivationQuantizer, follow, per_output
from selectq.quantization.scale_assignment import ScaleAssignment
from selectq.quantization.scales import activation_scale, activation_zero_point

BOUNDS = {
    "relu": Bounds(0.0, math.inf),
    "relu6": Bounds(0.0, 6.0),
    "linear": Bounds(-math.inf, math.inf),
}


def activation_quantizer(
    bounds: str, low: float, high: float, bits: int = 8, symmetric: bool = False
) -> ActivationQuantizer:
    scheme = ActivationScheme(bits, symmetric)
    quantizer = ActivationQuantizer(scheme, BOUNDS[bounds], torch.tensor(float(low)), torch.tensor(float(high)))
    quantizer.scale.copy_(activation_scale(quantizer.low, quantizer.high, scheme))
    quantizer.zero_point.copy_(activation_zero_point(quantizer.low, quantizer.scale, scheme))
    return quantizer


def raw_values() -> Tensor:
    return torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 5


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("bounds", "low", "high"), [("relu", 0, 7.3), ("relu6", 0, 6.0), ("linear", -3.1, 7.3)])
def test_activation_function_is_fused_exactly(bounds: str, low: float, high: float, symmetric: bool, bits: int) -> None:
    quantizer = activation_quantizer(bounds, low, high, bits, symmetric)
    activated = FloatActivation(BOUNDS[bounds])(raw_values())
    unfused = fake_quantize(activated, quantizer.scale, quantizer.zero_point, activation_integers(quantizer.scheme))
    assert torch.equal(quantizer(raw_values()), unfused)


@pytest.mark.parametrize("bounds", [*BOUNDS.values(), Bounds(-3.0, math.inf)], ids=str)
def test_activation_function_and_its_gradient_are_those_of_a_clamp(bounds: Bounds) -> None:
    x, same = raw_values().requires_grad_(), raw_values().requires_grad_()
    y, clamped = FloatActivation(bounds)(x), same.clamp(bounds.low, bounds.high)
    assert torch.equal(y, clamped)
    (y * raw_values()).sum().backward()
    (clamped * raw_values()).sum().backward()
    assert x.grad is not None and same.grad is not None and torch.equal(x.grad, same.grad)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_no_gradient_below_relu_or_above_the_range(symmetric: bool, bits: int) -> None:
    quantizer = activation_quantizer("relu", 0.0, 4.0, bits, symmetric)
    x = torch.tensor([-9.0, -3.0, 0.5, 3.9, 9.0], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0]


def test_symmetric_range_after_relu_uses_the_upper_half_of_the_grid() -> None:
    assert activation_quantizer("relu", 0, 4, 8, symmetric=True).integers() == IntegerRange(128, 255)
    assert activation_quantizer("relu", 0, 4, 8, symmetric=False).integers() == IntegerRange(0, 255)
    assert activation_quantizer("linear", -4, 4, 8, symmetric=True).integers() == IntegerRange(0, 255)
    codes = activation_quantizer("relu", 0, 4, 8, symmetric=True)(raw_values()).unique()
    assert len(codes) == 128 and codes.min() == 0.0 and codes.max().item() == pytest.approx(4.0)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("name", ["features.3.conv.1.0", "classifier.1"])
def test_assigned_scales_follow_the_parameters(name: str, granularity: str) -> None:
    network = quantized(scheme(4, granularity))
    layer = next(layer for layer in network.layers() if layer.name == name)
    quantizer, assignment = layer.weight_quantizer, ScaleAssignment(network)
    for _ in range(2):
        layer.weight.data.mul_(3)
        layer.bias.data.mul_(3)
        assignment.assign()
        weight, bias = layer.weight.detach(), layer.bias.detach()
        scale, bias_scale = quantizer.scale, quantizer.bias_scale
        found, found_bias = quantizer(weight, bias)
        assert len(scale) == (len(bias) if granularity == "channel" else 1)
        scale = per_output(scale, weight)
        largest = weight.abs().amax() if granularity == "tensor" else weight.abs().flatten(1).amax(1)
        assert torch.allclose(scale.flatten(), largest / 7, rtol=0.005)
        assert torch.allclose(found, (weight / scale).round().clamp(-7, 7) * scale, atol=1e-6)
        assert ((found_bias - bias).abs() <= 0.501 * bias_scale).all()


def test_weight_quantizer_gives_what_its_codes_stand_for() -> None:
    layer = next(quantized(scheme()).layers())
    quantizer = layer.weight_quantizer
    weight, bias = quantizer.codes(layer.weight, layer.bias)
    scale, bias_scale = quantizer.scale, quantizer.bias_scale
    assert torch.equal(weight, weight.round()) and weight.abs().amax() == 127
    assert torch.equal(bias, bias.round())
    found = quantizer(layer.weight, layer.bias)
    assert torch.equal(found[0], weight * per_output(scale, weight))
    assert torch.equal(found[1], bias * bias_scale)


def test_followed_range_is_a_moving_average_of_the_batches() -> None:
    quantizer = activation_quantizer("linear", -1.0, 2.0).train()
    quantizer.observing = True
    for batch, low, high in (([-5.0, 0.0, 6.0], -2.0, 3.0), ([-2.0, 0.0, 7.0], -2.0, 4.0)):
        quantizer(torch.tensor(batch))
        follow([quantizer], 0.25)
        assert (quantizer.low.item(), quantizer.high.item()) == (low, high)


def test_followed_range_stays_within_the_activation_function() -> None:
    quantizer = activation_quantizer("relu6", 0.0, 4.0).train()
    quantizer.observing = True
    quantizer(torch.tensor([-50.0, 100.0]))
    follow([quantizer], 0.5)
    assert (quantizer.low.item(), quantizer.high.item()) == (0.0, 5.0)


@pytest.mark.parametrize(("training", "observing"), [(False, True), (True, False)])
def test_range_is_fixed_in_evaluation_and_unless_watched(training: bool, observing: bool) -> None:
    quantizer = activation_quantizer("linear", -1.0, 2.0).train(training)
    quantizer.observing = observing
    quantizer(torch.tensor([-50.0, 100.0]))
    follow([quantizer], 0.5)
    assert (quantizer.low.item(), quantizer.high.item()) == (-1.0, 2.0)


def test_quantizers_do_not_share_their_ranges() -> None:
    low, high = torch.tensor(0.0), torch.tensor(1.0)
    one, other = (ActivationQuantizer(ActivationScheme(8, False), BOUNDS["relu"], low, high) for _ in range(2))
    one.train().observing = True
    one(torch.tensor([3.0]))
    follow([one], 1.0)
    assert (one.high.item(), other.high.item(), high.item()) == (3.0, 1.0, 1.0)
