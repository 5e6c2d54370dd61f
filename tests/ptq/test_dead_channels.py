"""Dead channels: their huge weights go, the function stays, and the living are left alone."""

import pytest
import torch
from small_networks import IMAGE_SIZE, model_config, random_network, same_tensors
from torch import nn
from torchvision.models import MobileNetV2

from selectq.graph.capture import capture
from selectq.networks.layers import normalised_convolutions, running_statistics
from selectq.ptq.dead_channels import constant_channels, dead_channels, zero_dead_channels
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode

BLOCK, CHANNEL = 3, 5
LAYER = f"features.{BLOCK}.conv.1.0"


def living() -> MobileNetV2:
    """A random network in which every channel varies."""
    model = random_network(model_config(), seed=1)
    for _, norm in normalised_convolutions(model, capture(model)):
        running_statistics(norm)[1].clamp_(min=0.01)
    return model


def with_dead_channel() -> MobileNetV2:
    """The expansion puts out a channel that ReLU cuts off, so the depthwise convolution behind it reads zeros."""
    model = living()
    expansion, depthwise, *_ = model.features[BLOCK].conv
    with torch.no_grad():
        expansion[1].weight[CHANNEL] = 0
        expansion[1].bias[CHANNEL] = -1
        depthwise[1].running_mean[CHANNEL] = 1e-12  # on its way to 0
        depthwise[1].running_var[CHANNEL] = 0
    return model


def folded(model: MobileNetV2) -> ConvNode:
    (layer,) = (layer for layer in fold(model).layers() if isinstance(layer, ConvNode) and layer.name == LAYER)
    return layer


def test_huge_weight_goes_and_the_function_stays() -> None:
    model, x = with_dead_channel(), torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.double)
    largest = folded(model).weight.abs().amax((1, 2, 3))
    assert largest[CHANNEL] > 10 * largest.median()
    with torch.no_grad():
        before = model(x)
        zero_dead_channels(model, capture(model))
        assert torch.allclose(model(x), before, rtol=1e-7)
    layer = folded(model)
    assert not layer.weight[CHANNEL].any()
    assert layer.bias[CHANNEL] == model.features[BLOCK].conv[1][1].bias[CHANNEL]


def test_network_without_dead_channels_keeps_every_bit() -> None:
    model = living()
    zero_dead_channels(model, capture(model))
    assert same_tensors(model, living())


@pytest.mark.parametrize(("share_of_eps", "dead"), [(0.0, True), (1e-6, True), (1e-4, False), (1e4, False)])
def test_dead_is_what_eight_bits_cannot_show(share_of_eps: float, dead: bool) -> None:
    for eps in (1e-5, 1e-3):
        assert constant_channels(torch.tensor([share_of_eps * eps]), eps).tolist() == [dead]


def test_dead_is_what_puts_out_a_constant_whatever_its_input() -> None:
    """The running variance is large; what is put out is 1/2, give or take `gamma`."""
    for gamma, dead in ((1e-6, True), (3e-4, True), (4e-4, False), (0.1, False)):
        norm = nn.BatchNorm2d(3)
        with torch.no_grad():
            norm.bias[1], norm.weight[1] = -0.5, gamma
        assert dead_channels(norm).tolist() == [False, dead, False]
