"""Equalisation: the function stays, neighbouring ranges meet, and a skew makes no difference any more."""

import itertools

import pytest
import torch
from small_networks import IMAGE_SIZE, model_config, random_network, scheme, trained
from torchvision.models import MobileNetV2

from selectq.networks.range_skew import skew_ranges
from selectq.quantization.fake_quantize import fake_quantize, weight_grid
from selectq.quantization.folding import fold
from selectq.quantization.fused import FusedBlock
from selectq.quantization.repairs.equalization import LARGEST_OUTPUT, channel_outputs, equalize
from selectq.quantization.scales import weight_scale


def relative_change(activation: str) -> float:
    model = random_network(model_config(activation), seed=1)
    x = torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(x)
        equalize(model)
        return ((model(x) - before).norm() / before.norm()).item()


def neighbouring_ranges(model: MobileNetV2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The largest weight of each channel where it is put out and where it is read, (C,) each, inside all blocks."""
    pairs = []
    for block in fold(model).blocks():
        layers = block.convolutions() if isinstance(block, FusedBlock) else []
        for layer, following in itertools.pairwise(layers):
            reading = (1, 2, 3) if following.groups > 1 else (0, 2, 3)
            pairs.append((layer.weight.abs().amax((1, 2, 3)), following.weight.abs().amax(reading)))
    return pairs


def rounding_error(model: MobileNetV2) -> float:
    """Relative error of the blocks' weights on one 8-bit scale per tensor, averaged over layers and channels."""
    errors = []
    for block in fold(model).blocks():
        for layer in block.convolutions() if isinstance(block, FusedBlock) else []:
            chosen = scheme(8, "tensor").weights
            scale = weight_scale(layer.weight, chosen)
            rounded = fake_quantize(layer.weight, scale, torch.zeros_like(scale), weight_grid(chosen))
            errors.append(
                ((rounded - layer.weight).flatten(1).norm(dim=1) / layer.weight.flatten(1).norm(dim=1)).mean()
            )
    return torch.stack(errors).mean().item()


def test_relu_network_keeps_its_function() -> None:
    assert relative_change("relu") < 1e-11


def test_relu6_network_does_not() -> None:
    assert relative_change("as_is") > 0.01


def test_neighbouring_layers_have_equal_ranges() -> None:
    model = random_network(model_config(), seed=1)
    apart = [((one / other).log().abs().max()).item() for one, other in neighbouring_ranges(model)]
    assert len(apart) == 1 + 2 * 16 and min(apart) > 0.1
    equalize(model)
    for one, other in neighbouring_ranges(model):
        assert torch.allclose(one, other, rtol=1e-9)


def test_skew_is_undone() -> None:
    plain, skewed = (random_network(model_config(), seed=1) for _ in range(2))
    skew_ranges(skewed, 1.0, seed=7)
    assert rounding_error(skewed) > 2 * rounding_error(plain)
    equalize(plain)
    equalize(skewed)
    for one, other in zip(fold(plain).parameters(), fold(skewed).parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def with_nearly_dead_channel(skew: float = 0.0) -> MobileNetV2:
    """The expansion puts out 1/2 in one channel, give or take next to nothing."""
    model = random_network(model_config(), seed=1)
    norm = model.features[4].conv[0][1]
    with torch.no_grad():
        norm.weight[7], norm.bias[7] = 1e-6, 0.5
    skew_ranges(model, skew, seed=7)
    return model


def test_nearly_dead_channel_does_not_widen_what_its_layer_puts_out() -> None:
    model = with_nearly_dead_channel()
    layer = fold(model).features[4].convolutions()[0]
    assert layer.weight[7].abs().max() < 1e-5 * layer.weight.abs().max(), "to equal its ranges takes a huge factor"
    equalize(model)
    convolution, norm, _ = model.features[4].conv[0]
    outputs = channel_outputs([(convolution, norm)])[0]
    assert outputs.argmax() == 7 and outputs[7] == pytest.approx(LARGEST_OUTPUT * outputs.median().item(), rel=0.05)
    depthwise, projection = (layer.weight.abs() for layer in fold(model).features[4].convolutions()[1:])
    assert depthwise[7].max().item() == pytest.approx(projection[:, 7].max().item(), rel=1e-6), (
        "equal where they may be"
    )


def test_other_channels_do_not_notice_a_nearly_dead_one() -> None:
    plain, model = random_network(model_config(), seed=1), with_nearly_dead_channel()
    equalize(plain)
    equalize(model)
    norm, expected = model.features[4].conv[0][1], plain.features[4].conv[0][1]
    others = torch.arange(len(norm.weight)) != 7
    assert torch.equal(norm.weight[others], expected.weight[others])


def test_skew_is_undone_beside_a_nearly_dead_channel() -> None:
    plain, skewed = with_nearly_dead_channel(), with_nearly_dead_channel(skew=1.0)
    equalize(plain)
    equalize(skewed)
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
    equalize(model)
    for norm, (weight, bias) in zip((block[0][1], block[1][1]), before, strict=True):
        assert norm.weight[7] == weight[7] and norm.bias[7] == bias[7]
        assert norm.weight[8] != weight[8], "its neighbour is equalised"
    assert all(parameter.isfinite().all() for parameter in model.parameters())
