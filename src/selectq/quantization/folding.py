"""Folding batch norm into the convolution before it, and torchvision's MobileNetV2 into its fused form."""

import torch
from torch import nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.networks.activations import BOUNDS, UNBOUNDED, Bounds
from selectq.networks.mobilenetv2 import parameter_kinds
from selectq.quantization.fused import (
    FusedBlock,
    FusedConv2d,
    FusedLinear,
    FusedMobileNetV2,
    FusedPool,
)


def fold(model: MobileNetV2) -> FusedMobileNetV2:
    """The fused float form of an FP32 network; it computes what `model` computes in evaluation mode."""
    folder = _Folder(model)
    features: list[FusedConv2d | FusedBlock] = []
    for index, child in enumerate(model.features):
        name = f"features.{index}"
        is_block = isinstance(child, InvertedResidual)
        features.append(folder.block(name, child) if is_block else folder.activated(name, child))
    pool = FusedPool("pool", "pool", UNBOUNDED)
    return FusedMobileNetV2(features, pool, FusedLinear("classifier.1", model.classifier[1])).eval()


class _Folder:
    """Knows the names and kinds of one network's parameters while it is folded."""

    def __init__(self, model: MobileNetV2) -> None:
        self._kinds = parameter_kinds(model)

    def block(self, name: str, block: InvertedResidual) -> FusedBlock:
        """An inverted residual block: expansion (if any) and depthwise are activated, the projection is linear."""
        *activated, projection, norm = block.conv
        assert isinstance(projection, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        layers = [self.activated(f"{name}.conv.{index}", layer) for index, layer in enumerate(activated)]
        last = len(activated)
        layers.append(self._fuse(f"{name}.conv.{last}", f"{name}.conv.{last + 1}", projection, norm, UNBOUNDED))
        return FusedBlock(name, layers, block.use_res_connect)

    def activated(self, name: str, layer: nn.Sequential) -> FusedConv2d:
        """A (convolution, batch norm, activation) triple."""
        conv, norm, activation = layer
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        return self._fuse(f"{name}.0", f"{name}.1", conv, norm, BOUNDS[type(activation)])

    def _fuse(
        self, conv_name: str, norm_name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d, bounds: Bounds
    ) -> FusedConv2d:
        sources = {"weight": (f"{conv_name}.weight",), "bias": (f"{norm_name}.weight", f"{norm_name}.bias")}
        fused = FusedConv2d(conv_name, self._kinds[f"{conv_name}.weight"], bounds, conv, sources)
        fold_batch_norm(fused, norm)
        return fused


@torch.no_grad()
def fold_batch_norm(fused: FusedConv2d, norm: nn.BatchNorm2d) -> None:
    """Put the batch norm's evaluation-mode affine map into the convolution's weight and bias, in double precision.

    w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps) (Jacob et al. 2018, eq. 14).
    """
    assert norm.running_var is not None and norm.running_mean is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)  # (O,)
    fused.weight.copy_(fused.weight.double() * factor[:, None, None, None])
    fused.bias.copy_(norm.bias.double() - norm.running_mean.double() * factor)
