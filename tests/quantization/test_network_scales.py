"""What is computed for the whole network at once is, bit for bit, what its quantizers compute one by one."""

import pytest
import torch
from small_networks import calibration, coloured_dataset, mixed_scheme, quantized, scheme, trained

from selectq.quantization.network import Layer, Network
from selectq.quantization.network_scales import NetworkScales
from selectq.quantization.post_training import quantize
from selectq.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from selectq.quantization.scopes import freeze_outside, parameters_in_scope

SCHEMES = [
    pytest.param(scheme(), id="asymmetric"),
    pytest.param(scheme(symmetric=True), id="symmetric"),
    pytest.param(scheme(4, bits=4, symmetric=True), id="w4a4"),
    pytest.param(scheme(granularity="tensor"), id="tensor"),
    pytest.param(mixed_scheme(), id="mixed"),
]


def reader(layer: Layer) -> WeightQuantizer:
    assert isinstance(layer.weight_quantizer, WeightQuantizer)
    return layer.weight_quantizer


@pytest.fixture(params=SCHEMES, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    return quantize(trained(), coloured_dataset(), calibration(), request.param, seed=0)


def test_stored_scales_are_the_places_own(network: Network) -> None:
    quantizers = [place.activation for place in network.sites() if isinstance(place.activation, ActivationQuantizer)]
    own = [quantizer.scale_and_zero_point() for quantizer in quantizers]
    scales, zero_points = NetworkScales(network).stored()
    assert len(own) == len(scales) == 63
    assert torch.equal(scales, torch.stack([scale for scale, _ in own]))
    assert torch.equal(zero_points, torch.stack([zero_point for _, zero_point in own]).int())


def test_levels_are_the_layers_own(network: Network) -> None:
    layers = list(network.layers())
    own = [reader(layer).levels(layer.weight, layer.bias)[0].to(torch.int8).flatten() for layer in layers]
    assert torch.equal(NetworkScales(network).levels(layers), torch.cat(own))
    assert torch.equal(NetworkScales(network).levels(layers[5:7]), torch.cat(own[5:7]))


@torch.no_grad()
def test_prepared_parameters_are_the_layers_own(network: Network) -> None:
    layers = list(network.layers())
    own = [reader(layer)(layer.weight, layer.bias) for layer in layers]
    with NetworkScales(network).prepared():
        ours = [reader(layer)(layer.weight, layer.bias) for layer in layers]
    for layer, (weight, bias), (our_weight, our_bias) in zip(layers, own, ours, strict=True):
        assert torch.equal(our_weight, weight) and torch.equal(our_bias, bias), layer.name


@torch.no_grad()
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_room_for_unequal_biases_is_the_layers_own(granularity: str) -> None:
    """One bias, the last and negative, is so large that the weights' scale has to make room for it."""
    network = quantized(scheme(granularity=granularity))
    for layer in network.layers():
        layer.bias[-1] = -1e9
    scales = NetworkScales(network)
    found, _ = scales.of_weights(scales.stored()[0])
    own = [reader(layer).scales(layer.weight, layer.bias)[0] for layer in network.layers()]
    assert torch.equal(found, torch.cat(own))


def test_nothing_stays_prepared(network: Network) -> None:
    with pytest.raises(KeyboardInterrupt), NetworkScales(network).prepared():
        raise KeyboardInterrupt
    assert all(
        module.prepared is None
        for module in network.modules()
        if isinstance(module, ActivationQuantizer | WeightQuantizer)
    )


def test_it_keeps_up_with_ranges_and_weights() -> None:
    network = quantized(scheme())
    freeze_outside(network, parameters_in_scope(trained().model, ["all"]))
    scales = NetworkScales(network)
    before = scales.levels(list(network.layers()))
    with torch.no_grad():
        for layer in network.layers():
            layer.weight.mul_(torch.rand_like(layer.weight) + 0.5)
        for place in network.sites():
            assert isinstance(place.activation, ActivationQuantizer)
            place.activation.high.mul_(1.25)
    layers = list(network.layers())
    after = scales.levels(layers)
    own = torch.cat([reader(layer).levels(layer.weight, layer.bias)[0].to(torch.int8).flatten() for layer in layers])
    assert torch.equal(after, own) and not torch.equal(after, before)
