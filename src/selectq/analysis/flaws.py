"""The flaws that an experiment may have. Each changes a sound setup by one suspected mistake of a certain size."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selectq.analysis.setup import CALIBRATION_BATCH, Setup
from selectq.analysis.simulations import Saturating, Unfused
from selectq.graph.chains import chains
from selectq.networks.layers import FloatLayer, float_layer, rescale_channels
from selectq.networks.range_skew import skew_ranges

Flaw = Callable[[Setup, Any], Setup]
"""Setup and size of the flaw (one of its settings in `AuditFlaws`) to the flawed setup. May change `model` in place."""


def keep_dead_channels(setup: Setup, setting: str) -> Setup:
    """Take the network as it was trained, its dead channels included: the pipeline's own post-training quantization."""
    return dataclasses.replace(setup, model=copy.deepcopy(setup.original))


def leave_unfused(setup: Setup, setting: str) -> Setup:
    """Quantize convolutions and batch norms one by one."""
    return dataclasses.replace(setup, backend=Unfused)


def calibrate_on(setup: Setup, images: int) -> Setup:
    """Estimate ranges from so many images."""
    return dataclasses.replace(setup, calibration=dataclasses.replace(setup.calibration, images=images))


def _floats(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)


PIXELS = {"unit": lambda images: _floats(images) / 255, "byte": _floats}
"""Images that nobody normalised: from 0 to 1, or from 0 to 255."""


def calibrate_on_raw_pixels(setup: Setup, scale: str) -> Setup:
    """Forget to normalise the calibration images."""
    return dataclasses.replace(setup, calibration_pixels=PIXELS[scale])


def infer_on_raw_pixels(setup: Setup, scale: str) -> Setup:
    """Forget to normalise the test images."""
    return dataclasses.replace(setup, inference_pixels=PIXELS[scale])


def reduce_range(setup: Setup, bits: int) -> Setup:
    """Use fewer integer codes for activations; PyTorch's default for x86 is 7 bits."""
    return dataclasses.replace(setup, activations=dataclasses.replace(setup.activations, bits=bits))


def use_signed_range(setup: Setup, setting: str) -> Setup:
    """Use a range symmetric about 0 for all activations: behind a ReLU, half of it is empty."""
    return dataclasses.replace(setup, activations=dataclasses.replace(setup.activations, symmetric=True))


ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


def exchange_activation(setup: Setup, name: str) -> Setup:
    """Put in another activation function than the network was trained with."""
    for module in list(setup.model.modules()):
        for child_name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(module, child_name, ACTIVATIONS[name]())
    return setup


def leave_in_training_mode(setup: Setup, setting: str) -> Setup:
    """Have batch norms use the statistics of each batch. They cannot be folded then, so nothing is fused."""
    for norm in _batch_norms(setup.model):
        norm.train()
    return dataclasses.replace(setup, backend=Unfused)


@torch.no_grad()
def use_stale_statistics(setup: Setup, batches: int) -> Setup:
    """Take running statistics as they are so many training batches after initialisation, 0 for the initial ones."""
    for norm in _batch_norms(setup.model):
        norm.reset_running_stats()
        norm.train()
    if batches:
        sample = setup.training.sample(batches * CALIBRATION_BATCH, setup.seed)
        for chunk in sample.chunks(CALIBRATION_BATCH):
            setup.model(setup.training.normalization(chunk))
    setup.model.eval()
    return setup


def _batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def enlarge_channel(setup: Setup, factor: int) -> Setup:
    """Multiply one channel by `factor` and divide what reads it: the function is kept."""
    layer, following = _outlier_layers(setup)
    factors = torch.ones(len(layer.module.weight))
    factors[_weightiest_channel(layer, following)] = factor
    rescale_channels(layer, following, factors)
    return setup


@torch.no_grad()
def enlarge_weight(setup: Setup, factor: int) -> Setup:
    """Multiply the largest weight of the same channel by `factor`, and nothing else: the function changes."""
    layer, following = _outlier_layers(setup)
    weights = layer.module.weight[_weightiest_channel(layer, following)].view(-1)
    weights[weights.abs().argmax()] *= factor
    return setup


def _outlier_layers(setup: Setup) -> tuple[FloatLayer, FloatLayer]:
    """The layer that gets an outlier, and the one that reads it: the first longest chain's last two.

    In MobileNetV2 they are the depthwise convolution and the projection of the first block with an expansion.
    """
    layer, following = max(chains(setup.graph), key=len)[-2:]
    return float_layer(setup.model, layer), float_layer(setup.model, following)


def _weightiest_channel(layer: FloatLayer, following: FloatLayer) -> int:
    """The channel of a layer that what follows depends on most."""
    gain = layer.module.weight.flatten(1).norm(dim=1) if layer.norm is None else layer.norm.weight.abs()
    return int((gain * following.input_norms()).argmax())


def skew(setup: Setup, sigma: float) -> Setup:
    """Make channel ranges unequal, by factors whose logarithms have the standard deviation `sigma`."""
    skew_ranges(setup.model, setup.graph, sigma, setup.seed)
    return setup


def saturate(setup: Setup, setting: str) -> Setup:
    """Add pairs of products in 16 bits."""
    return dataclasses.replace(setup, backend=Saturating)


FLAWS: dict[str, Flaw] = {
    "dead_channels": keep_dead_channels,
    "statistics_batches": use_stale_statistics,
    "activation_function": exchange_activation,
    "range_skew": skew,
    "outlier_channel": enlarge_channel,
    "outlier_weight": enlarge_weight,
    "calibration_images": calibrate_on,
    "calibration_pixels": calibrate_on_raw_pixels,
    "inference_pixels": infer_on_raw_pixels,
    "activation_bits": reduce_range,
    "activation_range": use_signed_range,
    "fusion": leave_unfused,
    "batch_norm": leave_in_training_mode,
    "products": saturate,
}
"""By the name in `AuditFlaws`, in the order in which several are applied: the network, the calibration, its backend."""
