"""The FP32 network's forward pass in training, by kernels."""

from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual

from selectq.graph.bounds import UNBOUNDED, Bounds
from selectq.graph.capture import CLAMPS
from selectq.kernels.batch_normed import NormalisedLayer, NormalisedPair, NormalisedRows
from selectq.kernels.convolutions import convolve, has_kernel


class FloatStep:
    """The network's forward pass in training mode, running statistics included, on the CPU.

    Needs the kernels in `SOURCES`.
    """

    SOURCES = ("batch_norm.cpp", "common.hpp")

    def __init__(self, model: MobileNetV2) -> None:
        self._model = model

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> logits (N, classes)."""
        x = images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3)
        for child in self._model.features:
            x = _block(child, x) if isinstance(child, InvertedResidual) else _activated(child, x)
        logits: Tensor = self._model.classifier(x.mean((1, 2)))
        return logits


def _block(block: InvertedResidual, x: Tensor) -> Tensor:
    *activated, projection, norm = block.conv
    y = _expanded(activated[0], activated[1], x) if len(activated) == 2 else _activated(activated[0], x)
    y = _layer(projection, norm, UNBOUNDED, y)
    return x + y if block.use_res_connect else y


def _expanded(expansion: nn.Sequential, depthwise: nn.Sequential, x: Tensor) -> Tensor:
    """A block's expansion and depthwise convolution."""
    (conv1, norm1, activation), (conv2, norm2, _) = expansion, depthwise
    assert isinstance(norm1, nn.BatchNorm2d) and isinstance(norm2, nn.BatchNorm2d) and isinstance(conv2, nn.Conv2d)
    first, second = (conv1.weight, norm1.weight, norm1.bias), (conv2.weight, norm2.weight, norm2.bias)
    bounds = CLAMPS[type(activation)]
    y: Tensor = NormalisedPair.apply(x, *first, *second, (norm1, norm2), bounds, conv2.stride[0])
    return y


def _activated(layer: nn.Sequential, x: Tensor) -> Tensor:
    conv, norm, activation = layer
    return _layer(conv, norm, CLAMPS[type(activation)], x)


def _layer(conv: nn.Module, norm: nn.Module, bounds: Bounds, x: Tensor) -> Tensor:
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    affine = (norm.weight, norm.bias)
    result: Tensor
    if has_kernel(conv):
        result = NormalisedLayer.apply(x, conv.weight, *affine, conv.stride[0], norm, bounds)
    else:
        result = NormalisedRows.apply(convolve(x, conv.weight, conv), *affine, norm, bounds)
    return result
