"""Bias correction: on the calibration images, no channel's mean output is off any more."""

import torch
from small_networks import calibration, coloured_dataset, scheme, trained
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from selectq.data.augment import image_batches
from selectq.ptq.bias_correction import correct_bias
from selectq.quantization.folding import fold
from selectq.quantization.network import LinearNode, Network
from selectq.quantization.post_training import calibration_images, quantize
from selectq.quantization.quantizers import WeightQuantizer

COARSE = scheme(3, "tensor")


def batches() -> list[Tensor]:
    return list(image_batches(calibration_images(coloured_dataset(), calibration(), seed=0)))


def mean_outputs(network: Network) -> dict[str, Tensor]:
    """What reaches the activations, and the logits: the mean of each channel."""
    means: dict[str, Tensor] = {}

    def keep(name: str, values: Tensor) -> None:
        means[name] = values.transpose(0, 1).flatten(1).mean(1)

    def watch(layer: nn.Module, name: str) -> RemovableHandle:
        if isinstance(layer, LinearNode):
            return layer.register_forward_hook(lambda _, inputs, output: keep(name, output))
        return layer.activation.register_forward_pre_hook(lambda _, inputs: keep(name, inputs[0]))

    handles = [watch(layer, layer.name) for layer in network.layers()]
    with torch.no_grad():
        network(torch.cat(batches()))
    for handle in handles:
        handle.remove()
    return means


def test_mean_error_of_every_channel_vanishes() -> None:
    float_network = fold(trained().model)
    quantized = quantize(trained(), coloured_dataset(), calibration(), COARSE, seed=0)
    wanted, shifted = mean_outputs(float_network), mean_outputs(quantized)
    correct_bias(float_network, quantized, batches())
    corrected = mean_outputs(quantized)
    levels_off = []
    for layer in quantized.layers():
        assert isinstance(layer.weight_quantizer, WeightQuantizer)
        bias_level = layer.weight_quantizer.bias_scale
        error = (corrected[layer.name] - wanted[layer.name]).abs()
        assert (error <= 0.51 * bias_level + 1e-5).all(), (layer.name, error.max(), bias_level.max())
        levels_off.append(((shifted[layer.name] - wanted[layer.name]).abs() / bias_level).max().item())
    assert max(levels_off) > 5, "it was not so before"


def test_weights_and_ranges_stay() -> None:
    quantized = quantize(trained(), coloured_dataset(), calibration(), COARSE, seed=0)
    before = {name: value.clone() for name, value in quantized.state_dict().items()}
    correct_bias(fold(trained().model), quantized, batches())
    changed = {name for name, value in quantized.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.endswith(".bias") for name in changed)


def test_every_image_counts_the_same() -> None:
    (images,) = batches()
    networks = [quantize(trained(), coloured_dataset(), calibration(), COARSE, seed=0) for _ in range(3)]
    for network, parts in zip(networks, ([images], [images[:-2], images[-2:]], [images[:-2]]), strict=True):
        correct_bias(fold(trained().model), network, parts)
    whole, in_parts, without = (torch.cat([layer.bias for layer in network.layers()]) for network in networks)
    assert torch.allclose(whole, in_parts, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(whole, without, rtol=1e-2, atol=1e-2), "negative control"
