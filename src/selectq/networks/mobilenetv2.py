"""torchvision's MobileNetV2 with a chosen input geometry, and the kind of each of its parameters."""

from torch import nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.params.configs import ModelConfig

# expansion factor, output channels and repeats of the seven stages (Sandler et al. 2018, table 2)
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def build_mobilenetv2(config: ModelConfig, classes: int) -> MobileNetV2:
    """A freshly initialised network: float (N, 3, H, W) -> logits (N, classes).

    Strides of 1 keep a useful feature map on 32x32 images; parameters and their names do not depend on them.
    """
    setting = [[*stage, stride] for stage, stride in zip(STAGES, config.stage_strides, strict=True)]
    model = MobileNetV2(num_classes=classes, inverted_residual_setting=setting, dropout=config.dropout)
    model.features[0][0].stride = (config.stem_stride, config.stem_stride)
    if config.activation == "relu":
        _replace_relu6(model)
    return model


def _replace_relu6(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU6):
            setattr(module, name, nn.ReLU(inplace=True))
        else:
            _replace_relu6(child)


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
