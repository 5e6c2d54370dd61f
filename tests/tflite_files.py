"""TFLite files as TensorFlow writes them for a MobileNetV2 of 8 bits: weights alone, the operators in order."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import tflite
from numpy.typing import ArrayLike, NDArray
from small_networks import model_config

from selectq.graph.capture import capture
from selectq.networks.build import build_network
from selectq.networks.layers import normalised_convolutions

FILE_CLASSES = 1001
ZERO_POINT = 120
KINDS = {
    "uint8": tflite.TensorType.UINT8,
    "int8": tflite.TensorType.INT8,
    "int32": tflite.TensorType.INT32,
    "float32": tflite.TensorType.FLOAT32,
}
OPERATORS = (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D)


class Levels(NamedTuple):
    """A convolution's integers, in TensorFlow's layout: (O, kh, kw, I), or (1, kh, kw, O) of a depthwise one.

    `scale` and `zero_point` are one number, or one for each channel.
    """

    weight: NDArray[np.integer[Any]]
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    bias_scale: float
    depthwise: bool


class Pixels(NamedTuple):
    """The grid of a file's input."""

    scale: float
    zero_point: int


PIXELS = Pixels(1 / 128, 128)
"""As TensorFlow's network trained with quantization has them."""


def random_levels(empty: int) -> list[Levels]:
    """MobileNetV2's convolutions and an ImageNet classifier behind them; the stem's channel `empty` holds zeros."""
    generator = np.random.default_rng(0)
    model = build_network(model_config(width_mult=1.0), 1)
    convolutions = [conv for conv, _ in normalised_convolutions(model, capture(model))]
    shapes = [(tuple(conv.weight.shape), conv.groups > 1) for conv in convolutions]
    made = []
    for shape, depthwise in [*shapes, ((FILE_CLASSES, 1280, 1, 1), False)]:
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        weight = generator.integers(0, 256, [shape[axis] for axis in order]).astype(np.uint8)
        bias = generator.integers(-800, 800, shape[0]).astype(np.int32)
        scale = np.array([0.02 / np.prod(shape[1:]) ** 0.5], np.float32)
        made.append(Levels(weight, bias, scale, np.array([ZERO_POINT]), 0.001, depthwise))
    made[0].weight[empty] = ZERO_POINT
    return made


def per_channel(layer: Levels) -> Levels:
    """The same numbers, signed and with a scale for each channel."""
    channels = len(layer.bias)
    return layer._replace(
        weight=(layer.weight.astype(np.int16) - 128).astype(np.int8),
        scale=np.full(channels, layer.scale[0]),
        zero_point=np.full(channels, layer.zero_point[0] - 128),
    )


def tflite_file(layers: Sequence[Levels], pixels: Pixels = PIXELS) -> bytes:
    """The file's bytes; tensor 0 is the input of the graph and of every operator."""
    builder = flatbuffers.Builder(1 << 20)
    buffers, tensors, operators = (
        [_buffer(builder, np.zeros(0, np.uint8))],
        [_tensor(builder, 0, np.zeros(1, np.uint8), _grid(builder, [pixels.scale], [pixels.zero_point], 0))],
        [],
    )
    for layer in layers:
        weight, bias = len(tensors), len(tensors) + 1
        buffers += [_buffer(builder, layer.weight), _buffer(builder, layer.bias)]
        grid = _grid(builder, layer.scale, layer.zero_point, 3 if layer.depthwise else 0)
        tensors.append(_tensor(builder, weight, layer.weight, grid))
        tensors.append(_tensor(builder, bias, layer.bias, _grid(builder, [layer.bias_scale], [0], 0)))
        operators.append(_operator(builder, int(layer.depthwise), (0, weight, bias)))
    graph = _graph(builder, tensors, operators)
    codes = []
    for code in OPERATORS:
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
        codes.append(tflite.OperatorCodeEnd(builder))
    parts = [_offsets(builder, items) for items in (codes, [graph], buffers)]
    tflite.ModelStart(builder)
    tflite.ModelAddOperatorCodes(builder, parts[0])
    tflite.ModelAddSubgraphs(builder, parts[1])
    tflite.ModelAddBuffers(builder, parts[2])
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _offsets(builder: flatbuffers.Builder, items: Sequence[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _buffer(builder: flatbuffers.Builder, values: NDArray[np.generic]) -> int:
    data = builder.CreateByteVector(values.tobytes())
    tflite.BufferStart(builder)
    tflite.BufferAddData(builder, data)
    return int(tflite.BufferEnd(builder))


def _grid(builder: flatbuffers.Builder, scale: ArrayLike, zero_point: ArrayLike, axis: int) -> int:
    scales = builder.CreateNumpyVector(np.asarray(scale, np.float32))
    zeros = builder.CreateNumpyVector(np.asarray(zero_point, np.int64))
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scales)
    tflite.QuantizationParametersAddZeroPoint(builder, zeros)
    tflite.QuantizationParametersAddQuantizedDimension(builder, axis)
    return int(tflite.QuantizationParametersEnd(builder))


def _tensor(builder: flatbuffers.Builder, buffer: int, values: NDArray[np.generic], grid: int) -> int:
    sizes = builder.CreateNumpyVector(np.array(values.shape, np.int32))
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sizes)
    tflite.TensorAddType(builder, KINDS[str(values.dtype)])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddQuantization(builder, grid)
    return int(tflite.TensorEnd(builder))


def _operator(builder: flatbuffers.Builder, code: int, inputs: Sequence[int]) -> int:
    taken = builder.CreateNumpyVector(np.array(inputs, np.int32))
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, taken)
    return int(tflite.OperatorEnd(builder))


def _graph(builder: flatbuffers.Builder, tensors: Sequence[int], operators: Sequence[int]) -> int:
    parts = [_offsets(builder, items) for items in (tensors, operators)]
    inputs = builder.CreateNumpyVector(np.zeros(1, np.int32))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddTensors(builder, parts[0])
    tflite.SubGraphAddOperators(builder, parts[1])
    return int(tflite.SubGraphEnd(builder))
