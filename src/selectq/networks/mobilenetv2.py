"""torchvision's MobileNetV2 with a chosen input geometry."""

from torch import nn
from torchvision.models import MobileNetV2

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
