"""Learned rounding: it begins in float, ends on a neighbouring integer code, and what is learned is what is stored."""

from pathlib import Path

import torch
from small_networks import CLASSES, float_images, model_config, quantized, scheme
from torch import Tensor

from selectq.quantization.network import ConvNode, Layer, Network
from selectq.quantization.quantized import QuantizedCheckpoint, read_quantized, write_quantized
from selectq.quantization.quantizers import per_output
from selectq.quantization.rounding import LearnedRounding, put_on_codes
from selectq.quantization.scale_assignment import ScaleAssignment, weight_quantizer_of

FEW_BITS = scheme(3)


def some_layer(network: Network) -> ConvNode:
    """The first depthwise convolution behind the stem."""
    layer: ConvNode = network["features.1.conv.0.0"]
    return layer


UNIT = torch.tensor(0.125)


def in_codes(layer: Layer, weight: Tensor) -> Tensor:
    return weight / per_output(weight_quantizer_of(layer).scale, weight)


def test_begins_at_the_float_weights() -> None:
    layer = some_layer(quantized(FEW_BITS))
    rounding = LearnedRounding(layer, UNIT)
    weight, bias = rounding(layer.weight, layer.bias)
    assert torch.allclose(weight, layer.weight, atol=1e-5)
    assert torch.equal(bias, layer.weight_quantizer(layer.weight, layer.bias)[1])
    shares = in_codes(layer, layer.weight) % 1
    expected = (1 - (2 * shares - 1).abs() ** 4).sum()
    assert torch.allclose(rounding.undecided(4.0), expected, rtol=1e-3) and expected > 1


def test_either_neighbour_can_be_reached_and_no_other() -> None:
    layer = some_layer(quantized(FEW_BITS))
    rounding, codes = LearnedRounding(layer, UNIT), in_codes(layer, layer.weight.detach())
    for value, neighbours in ((-9.0, codes.floor()), (9.0, (codes.floor() + 1).clamp(-3, 3))):
        with torch.no_grad():
            rounding.variable.fill_(value)
        rounding.refresh()
        weight, _ = rounding(layer.weight, layer.bias)
        assert torch.allclose(in_codes(layer, weight), neighbours, atol=1e-4)
        assert torch.equal(rounding.decided(), weight)
        assert rounding.undecided(2.0) == 0


def test_gradients_lead_to_the_neighbour_that_is_wanted() -> None:
    layer = some_layer(quantized(FEW_BITS))
    rounding, codes = LearnedRounding(layer, UNIT), in_codes(layer, layer.weight.detach())
    wanted = codes.floor() + (torch.rand(codes.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    optimizer = torch.optim.Adam(rounding.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        rounding.refresh()
        (in_codes(layer, rounding(layer.weight, layer.bias)[0]) - wanted).square().sum().backward()
        optimizer.step()
    assert torch.allclose(in_codes(layer, rounding.decided()), wanted.clamp(-3, 3), atol=1e-4)
    assert layer.weight.grad is None and layer.bias.grad is None


def test_bias_that_is_learned_is_used_and_kept() -> None:
    layer = some_layer(quantized(FEW_BITS))
    rounding, before = LearnedRounding(layer, UNIT), layer.bias.detach().clone()
    assert torch.equal(rounding.moved(layer.bias), before), "it begins where it is"
    rounding(layer.weight, layer.bias)[1].sum().backward()
    assert rounding.shift.grad is not None and (rounding.shift.grad == UNIT).all() and layer.bias.grad is None
    with torch.no_grad():
        rounding.shift.copy_(torch.arange(len(before)))
    used = rounding(layer.weight, layer.bias)[1]
    put_on_codes(layer, rounding)
    assert torch.equal(layer.bias, before + torch.arange(len(before)) / 8)
    assert torch.equal(used, layer.weight_quantizer(layer.weight, layer.bias)[1])


def up_everywhere(network: Network) -> dict[str, Tensor]:
    """Every weight of a network on the code above it; layer name -> codes."""
    codes = {}
    for layer in network.layers():
        rounding = LearnedRounding(layer, UNIT)
        with torch.no_grad():
            rounding.variable.fill_(9.0)
        put_on_codes(layer, rounding)
        codes[layer.name] = in_codes(layer, rounding.decided()).round()
    return codes


def test_scales_stay_when_parameters_are_chosen_again() -> None:
    """Where weights alone decided, the ranges of the rounded weights would give others."""
    network = quantized(FEW_BITS)
    before = {layer.name: weight_quantizer_of(layer).scale.clone() for layer in network.layers()}
    up_everywhere(network)
    ScaleAssignment(network).assign()
    assert all(torch.equal(weight_quantizer_of(layer).scale, before[layer.name]) for layer in network.layers())
    for layer in network.layers():
        weight_quantizer_of(layer).clip.zero_()
    ScaleAssignment(network).assign()
    moved = [
        layer for layer in network.layers() if not torch.equal(weight_quantizer_of(layer).scale, before[layer.name])
    ]
    assert moved, "negative control"


def test_codes_and_ranges_survive_the_checkpoint(tmp_path: Path) -> None:
    network = quantized(FEW_BITS)
    codes = up_everywhere(network)
    checkpoint = QuantizedCheckpoint("some", network, model_config(), CLASSES, FEW_BITS)
    write_quantized(tmp_path / "some.safetensors", checkpoint)
    read = read_quantized(tmp_path / "some.safetensors").network
    read(float_images(1, seed=0))  # averages know their size once they ran
    ScaleAssignment(read).assign()
    for layer in read.layers():
        assert torch.equal(weight_quantizer_of(layer).codes(layer.weight, layer.bias)[0], codes[layer.name])
