"""torchvision's networks with random weights and live signals, for the tests of what must hold in any network."""

import torch
import torchvision
from torch import nn

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
"""Name -> arguments."""


def build(name: str, classes: int = 10) -> nn.Module:
    """A network with random weights, see `alive`."""
    torch.manual_seed(0)
    return alive(torchvision.models.get_model(name, weights=None, num_classes=classes, **NETWORKS[name]))


def alive(model: nn.Module) -> nn.Module:
    """The network in evaluation mode, its batch norms random, but such that they keep the signal alive to the end."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 48, 48))  # sets the running statistics
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()
