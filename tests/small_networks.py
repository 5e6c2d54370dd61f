"""Small networks, schemes and images that the tests of networks, quantization, training, drift and export share."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from known_networks import alive
from made_once import made_once
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.config.configs import (
    ActivationScheme,
    AugmentConfig,
    CalibrationConfig,
    ModelConfig,
    NormalizationConfig,
    Params,
    WeightScheme,
)
from selectq.config.load import load_params
from selectq.data.augment import image_batches
from selectq.data.normalization import INTEGER_GRID
from selectq.data.packed import Dataset, Split
from selectq.networks.build import build_network
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.quantization.network import Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.batches import AugmentedImages
from selectq.training.loop import Plan, fit
from selectq.training.resume import Unsaved
from selectq.training.schedules import warmup

CLASSES = ("red", "green", "blue")
IMAGE_SIZE = 16
BATCH = 8
torch.set_num_threads(1)  # sums are split over threads: the networks must not depend on the number of cores
NO_AUGMENT = AugmentConfig(flip=False, crop_padding=0, cutout=0)
NARROW: dict[str, dict[str, Any]] = {"mobilenet_v2": {"width_mult": 0.35}}
"""Arguments of networks unless a test asks for others: all layers, few channels, a third of the time."""


def model_config(
    activation: str = "relu", strides_removed: int = 1, network: str = "mobilenet_v2", **arguments: Any
) -> ModelConfig:
    return ModelConfig(
        network=network,
        network_sha256=None,
        arguments={**NARROW.get(network, {}), **arguments},
        strides_removed=strides_removed,
        activation=activation,  # type: ignore[arg-type]  # the callers' literal
        normalization=NormalizationConfig((128 / 255,) * 3, (64 / 255,) * 3),
        weights="none",
        weights_sha256=None,
        trained=None,
        trained_sha256=None,
        new_classifier=False,
    )


def committed_params() -> Params:
    return load_params(Path(__file__).resolve().parents[1] / "params.yaml")


def scheme(weight_bits: int = 8, granularity: str = "channel", bits: int = 8, symmetric: bool | str = False) -> Scheme:
    return Scheme(
        WeightScheme(weight_bits, granularity),  # type: ignore[arg-type]  # the callers' literal
        ActivationScheme(bits, symmetric),  # type: ignore[arg-type]  # the callers' literal
    )


def mixed_scheme() -> Scheme:
    """4 bits, but 8 at both ends and wherever sums are made."""
    return Scheme(
        WeightScheme({"all": 4, "stem": 8, "classifier": 8}, "channel"),
        ActivationScheme({"all": 4, "stem": 8, "projection": 8, "block": 8, "pool": 8}, symmetric=False),
    )


def calibration(
    estimator: str = "minmax", images: int = 24, percentile: float = 99.9, averaging: float = 0.1
) -> CalibrationConfig:
    return CalibrationConfig("train", images, estimator, percentile, averaging)  # type: ignore[arg-type]


def coloured_noise(count: int, seed: int, size: int = IMAGE_SIZE) -> Split:
    """Noise in which the channel of an image's class is brighter: easy to tell apart, no two images alike."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    images = torch.randint(0, 160, (count, len(CLASSES), size, size), generator=generator)
    images[torch.arange(count), labels] += 90
    return Split(images.to(torch.uint8), labels)


def blends(count: int, seed: int = 0) -> Tensor:
    """uint8 images between two classes: some predictions are close, so that small differences flip them."""
    generator = torch.Generator().manual_seed(seed)
    one, other = coloured_noise(count, seed).images, coloured_noise(count, seed + 1).images.roll(1, dims=0)
    return torch.lerp(one.float(), other.float(), torch.rand(count, 1, 1, 1, generator=generator)).to(torch.uint8)


def coloured_dataset(train: int = 48, validation: int = 12, test: int = 12, size: int = IMAGE_SIZE) -> Dataset:
    return Dataset(
        train=coloured_noise(train, 0, size),
        validation=coloured_noise(validation, 1, size),
        test=coloured_noise(test, 2, size),
        classes=CLASSES,
        origin={"name": "coloured", "source": "noise"},
    )


def float_images(count: int, seed: int) -> Tensor:
    return INTEGER_GRID(coloured_noise(count, seed).images)


def random_network(config: ModelConfig, seed: int) -> MobileNetV2:
    """A float64 network with random weights, see `alive`."""
    torch.manual_seed(seed)
    return alive(build_network(config, len(CLASSES)).double(), IMAGE_SIZE)


def perturbed(model: MobileNetV2, name: str) -> MobileNetV2:
    """A copy with one parameter or buffer a hundredth larger: for negative controls."""
    model = copy.deepcopy(model)
    model.state_dict()[name].mul_(1.01)
    return model


def plan(
    network: nn.Module,
    dataset: Dataset,
    *,
    epochs: int = 1,
    seed: int = 0,
    lr: float = 0.02,
    augment: AugmentConfig = NO_AUGMENT,
) -> Plan:
    """A short warm-up, then a constant rate, on batches of `BATCH` images, by the network itself."""
    batches = AugmentedImages(dataset.train, BATCH, augment)
    return Plan(epochs, batches, network, network, warmup(lambda epoch: lr, 0.3), seed)


@functools.cache
def _trained(activation: str, **arguments: float) -> Fp32Checkpoint:
    config = model_config(activation, **arguments)
    torch.manual_seed(0)
    model = build_network(config, len(CLASSES)).to(memory_format=torch.channels_last)

    def train(path: Path) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        dataset = coloured_dataset(train=96)
        fit(model, optimizer, dataset, plan(model, dataset, epochs=8, lr=0.01), Unsaved())
        torch.save(model.state_dict(), path)

    model.load_state_dict(
        torch.load(made_once(f"{activation}-{config.arguments['width_mult']}.pth", train), weights_only=True)
    )
    return Fp32Checkpoint(model.eval(), config, CLASSES)


def trained(activation: str = "relu", **arguments: float) -> Fp32Checkpoint:
    """A MobileNetV2 that was trained, briefly, to tell the colours apart: its ranges and statistics are real ones."""
    return copy.deepcopy(_trained(activation, **arguments))


@functools.cache
def _quantized(scheme: Scheme) -> Network:
    return quantize(trained(), coloured_dataset(), calibration(), scheme, seed=0)


def quantized(scheme: Scheme) -> Network:
    """The trained network, quantized after training."""
    return copy.deepcopy(_quantized(scheme))


def quantizers(network: nn.Module) -> list[ActivationQuantizer]:
    """Of all its places."""
    return [module for module in network.modules() if isinstance(module, ActivationQuantizer)]


def batches_of(images: Tensor) -> Callable[[], list[Tensor]]:
    """uint8 images as `estimate_ranges` wants its batches."""
    return lambda: list(image_batches(Split(images, torch.zeros(len(images), dtype=torch.long))))


def same_tensors(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same names and, bit for bit, the same tensors."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def checkpoint(scheme: Scheme, name: str = "some") -> QuantizedCheckpoint:
    """The trained network, quantized after training, as a checkpoint."""
    return QuantizedCheckpoint(name, quantized(scheme), model_config(), CLASSES, scheme)
