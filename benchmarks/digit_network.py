"""A network by name for a short training: batch norms follow the images within some hundred steps.

MNASNet's own running statistics, with a momentum of 0.0003, would take thousands.
"""

from typing import Any

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

MOMENTUM = 0.1
TIMM = "timm:"


def named(num_classes: int, name: str, **arguments: object) -> nn.Module:
    """torchvision's network of a name, or timm's behind `timm:`."""
    if name.startswith(TIMM):
        import timm  # noqa: PLC0415  # an optional extra

        model: nn.Module = timm.create_model(name.removeprefix(TIMM), num_classes=num_classes, **arguments)
    else:
        model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = MOMENTUM
    return model


class NarrowResNet18(ResNet):
    """ResNet18 with a quarter of the channels behind its stem, for which torchvision has no argument."""

    SHARE = 4

    def __init__(self, num_classes: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
        self.fc = nn.Linear(self.inplanes, num_classes)

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        return super()._make_layer(block, planes // self.SHARE, blocks, stride, dilate)
