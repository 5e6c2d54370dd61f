"""Re-estimated statistics are those behind rounded weights; nothing else changes."""

import copy

import pytest
import torch
from small_networks import coloured_noise, scheme, trained
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.config.configs import BitWidths, WeightScheme
from selectq.data.normalization import INTEGER_GRID
from selectq.graph.capture import capture
from selectq.networks.layers import FloatLayer, normalised_convolutions, running_statistics
from selectq.ptq.batch_norm import reestimate_batch_norm, rounded_weight
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode
from selectq.quantization.scales import weight_scale

IMAGES = INTEGER_GRID(coloured_noise(96, 3).images)


def statistics_off(model: MobileNetV2, chosen: WeightScheme) -> tuple[float, float]:
    """How far means and standard deviations of folded, rounded layers are from what the batch norms are to put out.

    The mean, over all channels of all layers, of both differences, in units of the batch norm's gamma.
    """
    network, outputs = fold(model), {}

    def keep(layer: ConvNode, inputs: tuple[Tensor, ...]) -> None:
        raw = nn.functional.conv2d(*inputs, layer.weight, layer.bias, layer.stride, layer.padding, groups=layer.groups)
        outputs[layer.name] = raw

    for layer in network.layers():
        if isinstance(layer, ConvNode):
            own = chosen.of(layer.kind, layer.name)
            scale = weight_scale(layer.weight, own)
            rounded = fake_quantize(layer.weight, scale, torch.zeros_like(scale), weight_integers(own))
            layer.weight.data.copy_(rounded.data)
            layer.register_forward_pre_hook(keep)
    with torch.no_grad():
        network(IMAGES)
    means, deviations = [], []
    for (_, norm), raw in zip(normalised_convolutions(model, capture(model)), outputs.values(), strict=True):
        means.append(((raw.mean((0, 2, 3)) - norm.bias) / norm.weight).abs())
        deviations.append((raw.std((0, 2, 3)) / norm.weight.abs() - 1).abs())
    return torch.cat(means).mean().item(), torch.cat(deviations).mean().item()


@pytest.mark.parametrize("bits", [3, {"all": 8, "depthwise": 3, "expansion": 3, "projection": 3}], ids=str)
def test_statistics_are_restored_behind_coarse_weights(bits: BitWidths) -> None:
    model, chosen = trained().model, WeightScheme(bits, "channel")
    means, deviations = statistics_off(model, chosen)
    assert means > 0.2 and deviations > 0.2
    reestimate_batch_norm(model, capture(model), chosen, [IMAGES])
    means, deviations = statistics_off(model, chosen)
    assert means < 0.02 and deviations < 0.05


def test_nothing_but_the_statistics_changes() -> None:
    model = trained().model
    before = copy.deepcopy(model.state_dict())
    reestimate_batch_norm(model, capture(model), scheme(3, "channel").weights, IMAGES.split(32))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.endswith(("running_mean", "running_var"))}
    assert not any(module.training for module in model.modules())


def test_channel_that_is_constant_on_these_images_keeps_its_statistics() -> None:
    model = trained().model
    expansion, depthwise = model.features[4].conv[0][1], model.features[4].conv[1][1]
    with torch.no_grad():
        expansion.weight[3], expansion.bias[3] = 0, -1
    mean, variance = (statistic.clone() for statistic in running_statistics(depthwise))
    reestimate_batch_norm(model, capture(model), scheme(8, "channel").weights, [IMAGES])
    new_mean, new_variance = running_statistics(depthwise)
    assert (new_mean[3], new_variance[3]) == (mean[3], variance[3])
    assert new_mean[4] != mean[4] and new_variance[4] != variance[4]


def test_one_scale_per_tensor_keeps_the_variances() -> None:
    model = trained().model
    before = copy.deepcopy(model.state_dict())
    reestimate_batch_norm(model, capture(model), scheme(8, "tensor").weights, [IMAGES])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.endswith("running_mean"), name


def test_every_image_counts_the_same() -> None:
    """Of the stem, whose input is the pixels: its mean over two batches is that over all their images."""
    odd = IMAGES.clone()
    odd[-2:] *= 4
    means = []
    for batches in ([odd], [odd[:-2], odd[-2:]], [odd[:-2]]):
        model = trained().model
        reestimate_batch_norm(model, capture(model), scheme(8, "channel").weights, batches)
        means.append(running_statistics(model.features[0][1])[0])
    assert torch.allclose(means[0], means[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(means[0], means[2], rtol=1e-2), "negative control"


def test_variance_is_the_unbiased_one_that_batch_norms_keep() -> None:
    model, stem, chosen = trained().model, trained().model.features[0], scheme(8, "channel").weights
    reestimate_batch_norm(model, capture(model), chosen, [IMAGES[:2]])
    stem[0].weight.data = rounded_weight(FloatLayer(stem[0], stem[1]), chosen).detach()
    stem[1].momentum = 1.0
    stem.train()(IMAGES[:2])  # of 128 positions: the biased variance is a 128th smaller
    assert torch.allclose(model.features[0][1].running_var, stem[1].running_var, rtol=1e-3)


def test_last_batch_of_one_image_is_no_trouble() -> None:
    """Behind the last stride its feature maps are single values, which have no variance."""
    model = trained().model
    reestimate_batch_norm(model, capture(model), scheme(8, "channel").weights, IMAGES[:33].split(32))
    assert all(statistic.isfinite().all() for statistic in model.state_dict().values())
