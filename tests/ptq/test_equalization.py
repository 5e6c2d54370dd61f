"""Equalisation: the function stays, neighbouring ranges meet, and a skew makes no difference any more."""

import copy
from itertools import pairwise

import pytest
import torch
from known_networks import alive, build
from small_networks import IMAGE_SIZE, model_config, random_network, same_tensors, scheme, trained
from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.resnet import Bottleneck, ResNet

from selectq.graph.capture import capture
from selectq.graph.chains import chains
from selectq.networks.layers import FloatLayer, float_layer
from selectq.networks.range_skew import skew_ranges
from selectq.ptq.equalization import LARGEST_OUTPUT, channel_outputs, equalize
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.folding import fold
from selectq.quantization.scales import weight_scale

# the largest number of channels of any layer decides the time that these take
NETWORKS = (
    "mnasnet0_5",
    "resnet18",
    "regnet_x_400mf",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "mobilenet_v3_small",
)
NO_NORMS = nn.Sequential(
    *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3, groups=2)),
    *(
        nn.ReLU(),
        nn.Conv2d(6, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ),
)


def change(model: nn.Module, size: int) -> float:
    """Of the logits, the largest, in largest logits."""
    x = torch.randn(4, 3, size, size, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(x)
        equalize(model, capture(model))
        return ((model(x) - before).abs().max() / before.abs().max()).item()


def layers_of_chains(model: nn.Module) -> list[list[FloatLayer]]:
    return [[float_layer(model, node) for node in chain] for chain in chains(capture(model))]


def neighbouring_ranges(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The largest weight of each channel where it is put out and where it is read, (C,) each, inside all chains."""
    pairs = (pair for chain in layers_of_chains(model) for pair in pairwise(chain))
    return [(layer.output_ranges(), following.input_ranges()) for layer, following in pairs]


def rounding_error(model: nn.Module) -> float:
    """Relative error of the chains' weights on one 8-bit scale per tensor, averaged over layers and channels."""
    chosen, errors = scheme(8, "tensor").weights, []
    for weight in (layer.folded_weight() for chain in layers_of_chains(model) for layer in chain):
        scale = weight_scale(weight, chosen)
        rounded = fake_quantize(weight, scale, torch.zeros_like(scale), weight_integers(chosen))
        errors.append(((rounded - weight).flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)).mean())
    return torch.stack(errors).mean().item()


def test_relu_network_keeps_its_function() -> None:
    assert change(random_network(model_config(), seed=1), IMAGE_SIZE) < 1e-11


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_keeps_its_function(name: str) -> None:
    model = build(name).double()
    before = [parameter.clone() for parameter in model.parameters()]
    assert change(model, 64) < 1e-11
    changed = any(not torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert changed == (name != "squeezenet1_1"), "whose only such layer is its stem"


def test_network_without_batch_norms_keeps_its_function_and_gets_equal_ranges() -> None:
    torch.manual_seed(0)
    model = copy.deepcopy(NO_NORMS).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    assert change(model, 16) < 1e-11
    found = layers_of_chains(model)
    assert [layer.module for chain in found for layer in chain] == [
        *(model[2], model[5]),  # behind the stem, through a max pool into groups
        *(model[5], model[7]),
        *(model[10], model[12]),
    ]
    for one, other in neighbouring_ranges(model):
        assert torch.allclose(one, other, rtol=5e-3)


def test_bias_without_batch_norm_is_not_blown_up() -> None:
    torch.manual_seed(0)
    model = copy.deepcopy(NO_NORMS).double()
    with torch.no_grad():
        model[2].weight[3] *= 1e-6
        model[2].bias[3] = 0.5
    assert change(model, 16) < 1e-11
    biases = model[2].bias.abs()
    assert biases.argmax() == 3 and biases[3] < 20 * biases.median()


def test_relu6_network_stays_as_it_is() -> None:
    model = random_network(model_config("as_is"), seed=1)
    equalize(model, capture(model))
    assert same_tensors(model, random_network(model_config("as_is"), seed=1))


def bottlenecks() -> nn.Module:
    """A ResNet of four blocks."""
    torch.manual_seed(0)
    return alive(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10)).double()


@pytest.mark.parametrize("name", ["mobilenet_v2", "bottlenecks"])
def test_neighbouring_layers_have_equal_ranges(name: str) -> None:
    """Chains that share a layer need some sweeps, until they are settled."""
    model = random_network(model_config(), seed=1) if name == "mobilenet_v2" else bottlenecks()
    apart = [((one / other).log().abs().max()).item() for one, other in neighbouring_ranges(model)]
    assert len(apart) == (1 + 2 * 16 if name == "mobilenet_v2" else 2 * 4) and min(apart) > 0.1
    equalize(model, capture(model))
    for one, other in neighbouring_ranges(model):
        assert torch.allclose(one, other, rtol=1e-9 if name == "mobilenet_v2" else 5e-3)


def test_skew_is_undone() -> None:
    plain, skewed = (random_network(model_config(), seed=1) for _ in range(2))
    skew_ranges(skewed, capture(skewed), 1.0, seed=7)
    assert rounding_error(skewed) > 2 * rounding_error(plain)
    equalize(plain, capture(plain))
    equalize(skewed, capture(skewed))
    for one, other in zip(fold(plain).parameters(), fold(skewed).parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def with_nearly_dead_channel(skew: float = 0.0) -> MobileNetV2:
    """The expansion puts out 1/2 in one channel, give or take next to nothing."""
    model = random_network(model_config(), seed=2)
    norm = model.features[4].conv[0][1]
    with torch.no_grad():
        norm.weight[7], norm.bias[7] = 1e-6, 0.5
    if skew:
        skew_ranges(model, capture(model), skew, seed=7)
    return model


def block(model: nn.Module) -> list[FloatLayer]:
    """The expansion, the depthwise convolution and the projection of a block."""
    return layers_of_chains(model)[3]


def test_nearly_dead_channel_does_not_widen_what_its_layer_puts_out() -> None:
    model = with_nearly_dead_channel()
    expansion, depthwise, projection = block(model)
    weights = expansion.output_ranges()
    assert weights[7] < 1e-5 * weights.max(), "to equal its ranges takes a huge factor"
    equalize(model, capture(model))
    outputs = channel_outputs([expansion])[0]
    assert outputs.argmax() == 7 and outputs[7] == pytest.approx(LARGEST_OUTPUT * outputs.median().item(), rel=0.05)
    read, put_out = projection.input_ranges()[7].item(), depthwise.output_ranges()[7].item()
    assert put_out == pytest.approx(read, rel=1e-6), "equal where they may be"


def test_other_channels_do_not_notice_a_nearly_dead_one() -> None:
    plain, model = random_network(model_config(), seed=2), with_nearly_dead_channel()
    equalize(plain, capture(plain))
    equalize(model, capture(model))
    norm, expected = model.features[4].conv[0][1], plain.features[4].conv[0][1]
    others = torch.arange(len(norm.weight)) != 7
    assert torch.equal(norm.weight[others], expected.weight[others])


def test_skew_is_undone_beside_a_nearly_dead_channel() -> None:
    plain, skewed = with_nearly_dead_channel(), with_nearly_dead_channel(skew=1.0)
    equalize(plain, capture(plain))
    equalize(skewed, capture(skewed))
    for one, other in zip(fold(plain).parameters(), fold(skewed).parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_channel_without_weights_somewhere_stays_as_it_is(layer: int) -> None:
    model = trained().model
    block = model.features[4].conv
    convolution = block[2] if layer == 2 else block[layer][0]
    with torch.no_grad():
        (convolution.weight[:, 7] if layer == 2 else convolution.weight[7]).zero_()
    before = [(norm.weight.clone(), norm.bias.clone()) for norm in (block[0][1], block[1][1])]
    equalize(model, capture(model))
    for norm, (weight, bias) in zip((block[0][1], block[1][1]), before, strict=True):
        assert norm.weight[7] == weight[7] and norm.bias[7] == bias[7]
        assert norm.weight[8] != weight[8], "its neighbour is equalised"
    assert all(parameter.isfinite().all() for parameter in model.parameters())
