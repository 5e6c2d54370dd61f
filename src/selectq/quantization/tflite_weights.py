"""ImageNet weights out of TensorFlow's 8-bit MobileNetV2 (a TFLite file), as a state dict of torchvision's network.

Both kinds of such files: of a network trained with quantization (unsigned, one scale per tensor), and of one trained in
float and quantized after (signed, one scale per channel).

In such a file batch norms are folded into the convolutions. Training wants them back: each is given the statistics that
its convolution's outputs have on some images, and the factors with which the network computes what the file's does.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.data.normalization import INTEGER_GRID, PIXEL_SCALE, PIXEL_ZERO_POINT
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.networks.layers import NormalisedConv, normalised_convolutions, running_statistics

BATCH = 128
MAGIC = b"TFL3"
WEIGHTS = {tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT8: np.int8}
BIASES = {tflite.TensorType.INT32: np.int32}
BACKGROUND = 1
"""Classes of the file that ImageNet has not, at the front."""

Kinds = Mapping[int, type[np.integer[Any]]]
"""Integers that are read, by TFLite's number of their type."""


class Folded(NamedTuple):
    """A convolution with its batch norm: float64 weight (O, I, kh, kw) and bias (O,)."""

    weight: Tensor
    bias: Tensor


def read_folded(path: Path) -> list[Folded]:
    """The dequantized convolutions of a TFLite file in its order, for our pixels, the classifier last.

    Raises:
        UserError: no such file, not TFLite, or one whose pixels and weights are not 8-bit integers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if content[4:8] != MAGIC:
        raise UserError(f"{path} is not a TFLite file: it has {content[4:8]!r} where {MAGIC!r} should stand")
    try:
        model = tflite.Model.GetRootAsModel(content, 0)
        stem, *others = _convolutions(model)
        return [_for_our_pixels(stem, model.Subgraphs(0)), *others]
    except (struct.error, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} does not hold the 8-bit convolutions of MobileNetV2 ({error})") from None


def _convolutions(model: tflite.Model) -> Iterator[Folded]:
    graph = model.Subgraphs(0)
    order = {  # of the axes of each operator's weight, as torch has them
        tflite.BuiltinOperator.CONV_2D: (0, 3, 1, 2),
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: (3, 0, 1, 2),
    }
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex()).DeprecatedBuiltinCode()
        if code in order:
            weight = _dequantized(model, graph.Tensors(operator.Inputs(1)), WEIGHTS)
            bias = _dequantized(model, graph.Tensors(operator.Inputs(2)), BIASES)
            yield Folded(torch.from_numpy(weight.transpose(order[code]).copy()), torch.from_numpy(bias))


def _dequantized(model: tflite.Model, tensor: tflite.Tensor, kinds: Kinds) -> NDArray[np.float64]:
    """A tensor's values, of one scale or of one for each channel."""
    if tensor.Type() not in kinds:
        raise ValueError(f"tensor type {tensor.Type()}, not {' or '.join(map(str, kinds))}")
    scheme, shape = tensor.Quantization(), tensor.ShapeAsNumpy()
    per_channel = [-1 if axis == scheme.QuantizedDimension() else 1 for axis in range(len(shape))]
    scale, zero_point = scheme.ScaleAsNumpy().astype(np.float64), scheme.ZeroPointAsNumpy()
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    codes = np.frombuffer(data.tobytes(), kinds[tensor.Type()]).reshape(shape)
    values: NDArray[np.float64] = (codes - zero_point.reshape(per_channel)) * scale.reshape(per_channel)
    if values.shape != codes.shape:
        raise ValueError(f"{len(scale)} scales for the shape {tuple(shape)}")
    return values


def _for_our_pixels(stem: Folded, graph: tflite.SubGraph) -> Folded:
    """The stem of a network whose pixels are ours.

    Where the file's zero is not ours, border pixels, padded with zeros, see the difference.
    """
    pixels = graph.Tensors(graph.Inputs(0))
    if pixels.Type() != tflite.TensorType.UINT8:
        raise ValueError(f"its input has the tensor type {pixels.Type()}, not {tflite.TensorType.UINT8}")
    scale, zero_point = pixels.Quantization().Scale(0), pixels.Quantization().ZeroPoint(0)
    shift = scale * (PIXEL_ZERO_POINT - zero_point) * stem.weight.sum((1, 2, 3))  # (O,)
    return Folded(stem.weight * (scale / PIXEL_SCALE), stem.bias + shift)


def unfold(network: MobileNetV2, folded: Sequence[Folded], images: Tensor) -> dict[str, Tensor]:
    """The file's weights as a float32 state dict with batch norms and a classifier for ImageNet's 1,000 classes.

    The head's outputs are scaled to a fresh network's, and the classifier's weights inversely: but for what the head's
    ReLU6 bounds, the network computes what the file's does.

    Args:
        network: of the geometry that will be trained, with the ReLU6 of the file's network; its state is overwritten.
        folded: from `read_folded`.
        images: uint8 (N, 3, H, W), on which the statistics are taken; in float64, so that machines agree.

    Raises:
        UserError: the file is not of this network.
    """
    network.double().eval()
    pairs = list(normalised_convolutions(network, capture(network)))
    _check_shapes(folded, pairs)
    *layers, classifier = folded
    with torch.no_grad():
        for (conv, norm), layer in zip(pairs, layers, strict=True):
            conv.weight.copy_(layer.weight)
            _set_norm(norm, torch.zeros_like(layer.bias), torch.ones_like(layer.bias), 1.0, layer.bias)
        measured = _statistics(network, [conv for conv, _ in pairs], images)
        for (conv, norm), layer, (mean, variance) in zip(pairs, layers, measured, strict=True):
            size = _size(layer.weight)
            conv.weight.copy_(layer.weight / size.view(-1, 1, 1, 1))
            _set_norm(norm, mean / size, variance / size**2, size, layer.bias + mean)
        gain = _take_out_gain(pairs[-1][1])
    state = {name: _single(value) for name, value in network.state_dict().items()}
    state["classifier.1.weight"] = _single(classifier.weight[BACKGROUND:].flatten(1) * gain)
    state["classifier.1.bias"] = _single(classifier.bias[BACKGROUND:])
    return state


def _check_shapes(folded: Sequence[Folded], pairs: Sequence[NormalisedConv]) -> None:
    if len(folded) != len(pairs) + 1:
        raise UserError(f"not MobileNetV2: {len(folded)} convolutions, not {len(pairs)} and a classifier")
    for number, (layer, (conv, _)) in enumerate(zip(folded, pairs, strict=False)):
        found, wanted = tuple(layer.weight.shape), tuple(conv.weight.shape)
        if found != wanted:
            raise UserError(f"not MobileNetV2 of width 1.0: convolution {number} has the shape {found}, not {wanted}")


def _statistics(network: nn.Module, convs: Sequence[nn.Conv2d], images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance (O,) of each convolution's outputs, in network order."""
    sums = {conv: torch.zeros(2, conv.out_channels, dtype=torch.float64) for conv in convs}
    counts = dict.fromkeys(convs, 0)

    def add(conv: nn.Conv2d, _: object, output: Tensor) -> None:
        sums[conv] += torch.stack([output.sum((0, 2, 3)), output.square().sum((0, 2, 3))])
        counts[conv] += output.numel() // conv.out_channels

    handles = [conv.register_forward_hook(add) for conv in convs]
    for chunk in images.split(BATCH):
        network(INTEGER_GRID(chunk).double())
    for handle in handles:
        handle.remove()
    means = [sums[conv] / counts[conv] for conv in convs]
    return [(mean, (square - mean**2).clamp(min=0)) for mean, square in means]


def _size(weight: Tensor) -> Tensor:
    """Each filter's length, with which it is divided: what a step changes is inverse to it. 1 for empty ones. (O,)"""
    length = weight.flatten(1).norm(dim=1)
    return torch.where(length > 0, length, 1.0)


def _set_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, factor: Tensor | float, bias: Tensor) -> None:
    """Statistics, and an affine part with which it computes `factor (y - mean) + bias`."""
    affine = (factor * (variance + norm.eps).sqrt(), bias)
    for kept, value in zip((*running_statistics(norm), norm.weight, norm.bias), (mean, variance, *affine), strict=True):
        kept.copy_(value)


def _take_out_gain(norm: nn.BatchNorm2d) -> Tensor:
    """Divide an affine part by its root mean square factor, which is returned: a fresh network's are 1.

    Features several times as long make a new classifier's first steps explode.
    """
    gain = norm.weight.square().mean().sqrt()
    norm.weight.div_(gain)
    norm.bias.div_(gain)
    return gain


def _single(value: Tensor) -> Tensor:
    return (value.float() if value.is_floating_point() else value).contiguous()
