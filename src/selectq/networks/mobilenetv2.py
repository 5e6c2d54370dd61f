"""torchvision's MobileNetV2, which is what can be quantized so far, and the kind of each of its parameters."""

from torch import nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.params.configs import ModelConfig


def build_mobilenetv2(config: ModelConfig, classes: int) -> MobileNetV2:
    """A freshly initialised network: float (N, 3, H, W) -> logits (N, classes).

    Raises:
        UserError: as `build_network`, or it is another network.
    """
    return require_mobilenetv2(build_network(config, classes), config)


def require_mobilenetv2(network: nn.Module, config: ModelConfig) -> MobileNetV2:
    """`network`, if it is one.

    Raises:
        UserError: it is another.
    """
    if not isinstance(network, MobileNetV2):
        raise UserError(f"model.network: {config.network} cannot be quantized yet; allowed: mobilenet_v2")
    return network


def parameter_kinds(model: MobileNetV2) -> dict[str, str]:
    """Parameter name -> layer kind (one of `selectq.params.configs.LAYER_KINDS`), in network order."""
    kinds = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            for parameter, _ in module.named_parameters():
                kinds[f"{name}.{parameter}"] = _module_kind(model, name, module)
    return kinds


def _module_kind(model: MobileNetV2, name: str, module: nn.Module) -> str:
    if isinstance(module, nn.BatchNorm2d):
        return "batchnorm"
    if isinstance(module, nn.Linear):
        return "classifier"
    block = model.features[int(name.split(".")[1])]
    if not isinstance(block, InvertedResidual):
        return "stem" if block is model.features[0] else "head"
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return "depthwise"
    return "projection" if module is block.conv[-2] else "expansion"
