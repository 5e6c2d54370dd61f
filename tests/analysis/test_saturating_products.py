"""Products that saturate: against sums written out one by one, and in a whole layer."""

import itertools

import exported_networks
import torch
from known_networks import build
from small_networks import calibration, coloured_dataset, float_images, quantized, scheme, trained

from selectq.analysis.saturation import lost_by_saturation, saturate_products
from selectq.quantization.network import ConvNode
from selectq.quantization.post_training import quantize
from selectq.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from selectq.quantization.scale_assignment import ScaleAssignment


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


def test_layer_loses_what_its_pairs_lose() -> None:
    network = quantize(trained(width_mult=1.0), coloured_dataset(), calibration(), scheme(), seed=0)
    layer, source = next((layer, source) for layer, source in network.inputs() if layer.name == "features.3.conv.0.0")
    assert isinstance(layer, ConvNode) and source is not None
    stored, output, parameters = source.activation, layer.activation, layer.weight_quantizer
    assert isinstance(stored, ActivationQuantizer) and isinstance(output, ActivationQuantizer)
    assert isinstance(parameters, WeightQuantizer)
    layer.weight.data.abs_()  # of one sign: pairs do not cancel
    layer.bias.data.zero_()
    x = torch.full((1, layer.weight.shape[1], 2, 2), stored.high.item())
    output.high.fill_(1.2 * (x[0, 0, 0, 0] * layer.weight.sum((1, 2, 3))).max().item())  # nothing is clamped
    ScaleAssignment(network).assign()
    exact = layer(x)
    saturate_products(network)
    codes = (x / stored.scale).round() + stored.zero_point
    lost = lost_by_saturation(codes, parameters.codes(layer.weight, layer.bias)[0].flatten(1))
    expected = exact - lost * parameters.bias_scale.view(1, -1, 1, 1)
    assert lost.max() > 0
    assert torch.allclose(layer(x), expected, rtol=0, atol=1.01 * output.scale.item()), "up to rounding"
    assert not torch.allclose(exact, expected, rtol=0, atol=3 * output.scale.item())


def test_nothing_changes_where_nothing_saturates() -> None:
    plain, images = quantized(scheme(bits=7)), float_images(4, 3)
    expected = plain(images)
    saturate_products(plain)
    assert torch.equal(plain(images), expected)


def test_strided_layers_and_odd_channels_lose_what_they_read() -> None:
    """A 1x1 convolution of stride 2 on 5 channels: the fifth has no neighbour."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.full((1, 5, 4, 4), 255.0)
    weights = torch.randint(100, 128, (3, 5), generator=generator).float()
    assert torch.equal(lost_by_saturation(activations, weights), lost_by_saturation(activations[:, :4], weights[:, :4]))
    network = exported_networks.quantized(build("resnet18"), scheme())
    layer = network["layer2.0.downsample.0"]
    before = network(float_images(2, 3))
    layer.weight.data.abs_()  # of one sign: pairs do not cancel
    ScaleAssignment(network).assign()
    exact = network(float_images(2, 3))
    saturate_products(network)
    assert not torch.equal(exact, before) and not torch.equal(network(float_images(2, 3)), exact)
