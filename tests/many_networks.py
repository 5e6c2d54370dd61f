"""Networks of many kinds, small, with random weights and batch norms that keep the signal alive, and quantized."""

import functools
from collections.abc import Callable

import timm
import torch
import torchvision.models
from small_networks import CLASSES, batches_of, scheme
from torch import Tensor, nn

from selectq.params.configs import CalibrationConfig, ModelConfig
from selectq.quantization.folding import fold
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges

SIZE = 32
SQUEEZENET_SIZE = 64
"""Its convolutions without padding need more."""


class Custom(nn.Module):
    """What a user may write: SiLU, squeeze-excite by a sigmoid, concatenation, pools, a sum with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.left = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, groups=2, bias=False), nn.BatchNorm2d(24), nn.SiLU())
        self.squeeze, self.reduce, self.expand = nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.silu, self.sigmoid, self.relu = nn.SiLU(), nn.Sigmoid(), nn.ReLU()
        self.mix = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.halve, self.largest = nn.AvgPool2d(2), nn.MaxPool2d(2)
        self.hidden, self.act, self.classifier = nn.Linear(32, 20), nn.Hardswish(), nn.Linear(20, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        x = self.stem(x)
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = x * self.sigmoid(self.expand(self.silu(self.reduce(self.squeeze(x)))))
        x = self.relu(self.mix(x) + x)
        x = self.largest(self.halve(x))
        return self.classifier(self.act(self.hidden(x.mean((2, 3)))))


def _torchvision(name: str, **settings: object) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=len(CLASSES), **settings)


def _mobilenet_v2_relu() -> nn.Module:
    model = _torchvision("mobilenet_v2")()
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU(inplace=True))
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "custom": Custom,
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "mobilenet_v2_half": _torchvision("mobilenet_v2", width_mult=0.5),
    "mobilenet_v2_relu": _mobilenet_v2_relu,
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small"),
    "mobilenet_v3_large": _torchvision("mobilenet_v3_large"),
    "mnasnet0_5": _torchvision("mnasnet0_5"),
    "resnet18": _torchvision("resnet18"),
    "regnet_x_400mf": _torchvision("regnet_x_400mf"),
    "squeezenet1_1": _torchvision("squeezenet1_1"),
    "shufflenet_v2_x1_0": _torchvision("shufflenet_v2_x1_0"),
    "efficientnet_lite0": lambda: timm.create_model("efficientnet_lite0", num_classes=len(CLASSES)),
}


def image_size(name: str) -> int:
    """Height and width of the images that a network is shown."""
    return SQUEEZENET_SIZE if name == "squeezenet1_1" else SIZE


def images(name: str, count: int, seed: int = 0) -> Tensor:
    """uint8 noise (count, 3, H, W), smooth in places, so that the logits of two images differ."""
    generator, size = torch.Generator().manual_seed(seed), image_size(name)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=generator)
    fine = torch.rand(count, 3, size, size, generator=generator)
    return (255 * (0.7 * nn.functional.interpolate(coarse, size=size) + 0.3 * fine)).to(torch.uint8)


@torch.no_grad()
def _alive(model: nn.Module, name: str) -> nn.Module:
    """Batch norms with random weights and the statistics of some images, a little off."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.momentum = 1.0
    (batch,) = batches_of(images(name, 24, seed=1))()
    model.train()(batch)
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.25)
    return model.eval()


CONFIG = ModelConfig(1, (1, 1, 1, 1, 1, 1, 1), "relu", "none", None, 0.0)
"""What a checkpoint says of its network; not read by what is tested on these."""


@functools.cache
def checkpoint_of(name: str, chosen: Scheme | None = None) -> QuantizedCheckpoint:
    """A network of `NETWORKS`, quantized after training."""
    chosen = chosen or scheme()
    torch.manual_seed(0)
    network = fold(_alive(NETWORKS[name](), name)).to(memory_format=torch.channels_last)
    calibration = CalibrationConfig("train", 24, "minmax", 99.9, 0.1)
    ranges = estimate_ranges(network, batches_of(images(name, 24, seed=2)), calibration, chosen.activations)
    insert_quantizers(network, chosen, ranges)
    return QuantizedCheckpoint(name, network.eval(), CONFIG, CLASSES, chosen)
