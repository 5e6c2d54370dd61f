"""Networks of many kinds with random weights, quantized after training and in the reference form."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import known_networks
import pytest
import torch
import torchvision
from known_networks import alive, build
from small_networks import CLASSES, batches_of, calibration, model_config, scheme
from torch import Tensor, nn

from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import ReferenceNetwork, to_reference
from selectq.parity.backends import Backend, program_backends, reference_backend, simulation_backend
from selectq.programs.manifest import Manifest
from selectq.quantization.folding import fold
from selectq.quantization.network import LookupNode, Network
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges

SIZE = 48


class Custom(nn.Module):
    """What a user may write: SiLU, squeeze-excite by a sigmoid, concatenation, pools, a sum with ReLU, hard-swish."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.left = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, groups=2, bias=False), nn.BatchNorm2d(24), nn.SiLU())
        self.squeeze, self.reduce, self.expand = nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.silu, self.sigmoid, self.relu = nn.SiLU(), nn.Sigmoid(), nn.ReLU()
        self.mix = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.halve, self.largest = nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)
        self.hidden, self.act, self.classifier = nn.Linear(32, 20), nn.Hardswish(), nn.Linear(20, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        x = self.stem(x)
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = x * self.sigmoid(self.expand(self.silu(self.reduce(self.squeeze(x)))))
        x = self.relu(self.mix(x) + x)
        x = self.largest(self.halve(x))
        logits: Tensor = self.classifier(self.act(self.hidden(x.mean((2, 3)))))
        return logits


def mobilenet_v2(activation: type[nn.Module]) -> nn.Module:
    """torchvision's, whole, with ReLU or ReLU6."""
    model: nn.Module = torchvision.models.mobilenet_v2(weights=None, num_classes=len(CLASSES))
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, activation())
    return model


def timm_model(name: str) -> nn.Module:
    """A network of timm's, where that is installed."""
    model: nn.Module = pytest.importorskip("timm").create_model(name, num_classes=len(CLASSES))
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    name: functools.partial(build, name, len(CLASSES)) for name in known_networks.NETWORKS
}
NETWORKS |= {
    "custom": lambda: alive(Custom()),
    "mobilenet_v2_relu": lambda: alive(mobilenet_v2(nn.ReLU)),
    "mobilenet_v2_relu6": lambda: alive(mobilenet_v2(nn.ReLU6)),
    "efficientnet_lite0": lambda: alive(timm_model("efficientnet_lite0")),
}
"""torchvision's MobileNetV2 is also among the known ones, half as wide."""


def images(count: int, seed: int = 0) -> Tensor:
    """uint8 noise (count, 3, H, W), coarse and fine, so that logits differ between images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, SIZE // 8, SIZE // 8, generator=generator)
    fine = torch.rand(count, 3, SIZE, SIZE, generator=generator)
    return (255 * (0.7 * nn.functional.interpolate(coarse, size=SIZE) + 0.3 * fine)).to(torch.uint8)


@dataclass(frozen=True)
class Exported:
    """A network before and after conversion."""

    simulation: Network
    reference: ReferenceNetwork
    manifest: Manifest

    def backends(self, folder: Path, formats: tuple[str, ...]) -> list[Backend]:
        """The simulation, the reference, and those of programs that are written to a folder."""
        for ending in formats:
            write_program(folder / f"some.{ending}", self.reference, self.manifest)
        programs = program_backends(folder, "some", formats, self.reference)
        return [simulation_backend(self.simulation), reference_backend(self.reference), *programs]

    def lookups(self, function: str) -> int:
        """How many of its nodes compute an elementwise function."""
        sites = self.simulation.sites()
        return sum(isinstance(site, LookupNode) and site.function == function for site in sites)


@functools.cache
def exported(name: str, chosen: Scheme | None = None) -> Exported:
    """A network of `NETWORKS`, quantized after training."""
    chosen = chosen or scheme()
    network = quantized_network(name, chosen)
    checkpoint = QuantizedCheckpoint(name, network, model_config(), CLASSES, chosen)
    return Exported(network, to_reference(network), describe_program(checkpoint, SIZE))


def quantized_network(name: str, chosen: Scheme | None = None) -> Network:
    """A network of `NETWORKS`, quantized after training: a new one each time."""
    chosen = chosen or scheme()
    torch.manual_seed(0)
    network = fold(NETWORKS[name]()).to(memory_format=torch.channels_last)
    ranges = estimate_ranges(network, batches_of(images(24, seed=1)), calibration(), chosen.activations)
    insert_quantizers(network, chosen, ranges)
    return network.eval()
