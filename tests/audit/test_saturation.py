"""Products that saturate: against sums written out one by one, and in a whole layer."""

import itertools

import torch
from networks import float_images, quantized, scheme

from selectq.audit.saturation import lost_by_saturation, saturate_products
from selectq.quantization.fused import FusedConv2d, FusedMobileNetV2

LAYER = 3
"""Block whose expansion is looked at."""


def test_lost_is_what_16_bits_do_not_hold() -> None:
    generator = torch.Generator().manual_seed(0)
    activations = torch.randint(0, 256, (2, 8, 2, 2), generator=generator).float()
    weights = torch.randint(-127, 128, (5, 8), generator=generator).float()
    weights[0], weights[1], activations[0] = 127, -127, 255
    expected = torch.zeros(2, 5, 2, 2)
    for output, pair in itertools.product(range(5), range(0, 8, 2)):
        total = (activations[:, pair : pair + 2] * weights[output, pair : pair + 2].view(1, 2, 1, 1)).sum(1)
        expected[:, output] += total - total.clamp(-(2**15), 2**15 - 1)
    assert torch.equal(lost_by_saturation(activations, weights), expected)
    assert expected[0, 0].min() == 4 * (2 * 127 * 255 - 32767) and expected[0, 1].max() < 0


def test_seven_bits_never_saturate() -> None:
    activations, weights = torch.full((1, 8, 1, 1), 127.0), torch.full((3, 8), 127.0)
    assert not lost_by_saturation(activations, weights).any()


def expansion(network: FusedMobileNetV2) -> FusedConv2d:
    return network.features[LAYER].layers[0]  # type: ignore[no-any-return, union-attr, index]


def test_layer_puts_out_what_its_saturated_accumulator_gives() -> None:
    network, images = quantized(scheme()), float_images(4, 3)
    layer, (source,) = expansion(network), [place for place in network.places() if place.name == "features.2.conv.2"]
    layer.weight.data.copy_(layer.weight.abs())  # of one sign: pairs do not cancel
    x = images.new_full((1, layer.weight.shape[1], 2, 2), source.activation.high.item())  # type: ignore[union-attr, operator]
    exact = layer(x)
    saturate_products(network)
    found = layer(x)
    scale, zero_point = source.activation.scale_and_zero_point()  # type: ignore[union-attr, operator]
    levels = (x / scale).round() + zero_point
    weights = layer.read_parameters.levels(layer.weight, layer.bias)[0].flatten(1)  # type: ignore[operator]
    accumulator_scale = layer.read_parameters.scales(layer.weight, layer.bias)[1].view(1, -1, 1, 1)  # type: ignore[operator]
    raw = torch.nn.functional.conv2d(x, *layer.read_parameters(layer.weight, layer.bias))
    expected = layer.activation.scale() * (  # type: ignore[operator]
        ((raw - lost_by_saturation(levels, weights) * accumulator_scale) / layer.activation.scale())
        .round()
        .clamp(0, 255)  # type: ignore[operator]
    )
    assert (exact - found).max() > 0, "something saturates"
    assert torch.allclose(found, expected, rtol=0, atol=2 * layer.activation.scale().item())  # type: ignore[operator]


def test_nothing_changes_where_nothing_saturates() -> None:
    plain, images = quantized(scheme(bits=7)), float_images(4, 3)
    expected = plain(images)
    saturate_products(plain)
    assert torch.equal(plain(images), expected)
