"""A network by name for a short training: batch norms follow the images within some hundred steps.

MNASNet's own running statistics, with a momentum of 0.0003, would take thousands.
"""

import torchvision
from torch import nn

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
