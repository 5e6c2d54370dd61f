"""Networks with random weights and live signals, for the tests of what must hold in any network."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torchvision
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

NETWORKS: dict[str, dict[str, object]] = {
    "mobilenet_v2": {"width_mult": 0.5},
    "mobilenet_v3_small": {},
    "mobilenet_v3_large": {},
    "mnasnet0_5": {},
    "resnet18": {},
    "regnet_x_400mf": {},
    "regnet_y_400mf": {},
    "squeezenet1_1": {},
    "shufflenet_v2_x1_0": {},
    "efficientnet_b0": {},
}
"""Of torchvision's: name -> arguments."""


def build(name: str, classes: int = 10) -> nn.Module:
    """Any of torchvision's networks or of `OTHERS` with random weights, see `alive`."""
    torch.manual_seed(0)
    if name in OTHERS:
        return alive(OTHERS[name](classes))
    return alive(torchvision.models.get_model(name, weights=None, num_classes=classes, **NETWORKS.get(name, {})))


def alive(model: Model, size: int = 48) -> Model:
    """The network in evaluation mode, its batch norms random, but such that they keep the signal alive to the end."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, size, size, dtype=next(model.parameters()).dtype))  # sets the statistics
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


class Custom(nn.Module):
    """What a user may write: SiLU, squeeze-excite by a sigmoid, concatenation, pools, a sum with ReLU, hard-swish."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.left = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, groups=2, bias=False), nn.BatchNorm2d(24), nn.SiLU())
        self.squeeze, self.reduce, self.expand = nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.silu, self.sigmoid, self.relu = nn.SiLU(), nn.Sigmoid(), nn.ReLU()
        self.mix = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.halve, self.largest = nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.hidden, self.act, self.classifier = nn.Linear(32, 20), nn.Hardswish(), nn.Linear(20, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        x = self.stem(x)
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = x * self.sigmoid(self.expand(self.silu(self.reduce(self.squeeze(x)))))
        x = self.relu(self.mix(x) + x)
        x = self.largest(self.halve(x))
        logits: Tensor = self.classifier(self.act(self.hidden(x.mean((2, 3)))))
        return logits


class Plain(nn.Module):
    """The kinds of MobileNetV2 once each, which every format has: seconds where a whole network takes a minute."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.spatial = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        x = self.stem(x)
        logits: Tensor = self.classifier(self.pool(x + self.project(self.spatial(self.expand(x)))).flatten(1))
        return logits


def timm_model(name: str, classes: int) -> nn.Module:
    """A network of timm's, where that is installed."""
    model: nn.Module = pytest.importorskip("timm").create_model(name, num_classes=classes)
    return model


OTHERS: dict[str, Callable[[int], nn.Module]] = {
    "custom": Custom,
    "plain": Plain,
    "efficientnet_lite0": lambda classes: timm_model("efficientnet_lite0", classes),
}
"""Name -> what builds it for a number of classes."""
