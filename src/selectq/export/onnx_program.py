"""Writing the reference form as an ONNX file of quantize/dequantize operators with integer weights."""

import logging
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from selectq.export.exported import export_program
from selectq.export.reference import ReferenceNetwork
from selectq.files import METADATA_KEY, write_bytes
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME, Manifest

OPSET = 21
RUNTIME = f"ONNX Runtime 1.18 or newer (opset {OPSET})"
TRACED_BATCH = 2
INT4_BITS = 4
CHANNELS_AT_ONCE = 4


def write_onnx(path: Path, reference: ReferenceNetwork, manifest: Manifest) -> None:
    """Export to ONNX: input `pixels`, uint8 (batch, 3, H, W); output `logits`, float32 (batch, classes).

    The weights of layers of 4 bits or fewer are stored as INT4, two in a byte.

    Args:
        path: of the file; the same network gives the same bytes.
        reference: the integer network.
        manifest: kept in the file's metadata under `selectq`.
    """
    write_bytes(path, build_onnx(reference, manifest).SerializeToString(deterministic=True))


def build_onnx(reference: ReferenceNetwork, manifest: Manifest) -> onnx.ModelProto:
    """The ONNX model that `write_onnx` writes."""
    model = _export(reference, manifest.image_size)
    _strip(model)
    _pad_input_channels(model.graph)
    _give_weights_own_zero_points(model.graph)
    if min(layer.weight_bits for layer in manifest.layers) <= INT4_BITS:
        _store_weights_as_int4(model.graph)
    model.metadata_props.add(key=METADATA_KEY, value=manifest.for_runtime(RUNTIME).to_json())
    onnx.checker.check_model(model)
    return model


def _export(reference: ReferenceNetwork, image_size: int) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notices about its own future
        program = torch.onnx.export(
            export_program(reference, image_size, TRACED_BATCH, largest_batch=None),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: the exporter's notes on every node and value (an eighth of the file)."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    del model.functions[:]


def _pad_input_channels(graph: onnx.GraphProto) -> None:
    """Give the images a fourth channel, of zeros, and the stem zero weights for it; this changes no result.

    ONNX Runtime convolves int8 directly where channels come in fours; otherwise it copies patches first, which takes
    the stem twice the time and the whole program 5 to 10 % more.
    """
    reader = next(node for node in graph.node if node.input[0] == INPUT_NAME)
    stem = next(node for node in graph.node if node.input[0] == reader.output[0])
    levels = next(node.input[0] for node in graph.node if node.output[0] == stem.input[1])
    weight = next(tensor for tensor in graph.initializer if tensor.name == levels)
    narrow = numpy_helper.to_array(weight)  # (O, 3, kH, kW)
    missing = -narrow.shape[1] % CHANNELS_AT_ONCE
    weight.CopyFrom(numpy_helper.from_array(np.pad(narrow, ((0, 0), (0, missing), (0, 0), (0, 0))), levels))
    pads = np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64)  # before each of N, C, H, W, then behind
    graph.initializer.append(numpy_helper.from_array(pads, "channel_pads"))
    padded, zero_point = f"{INPUT_NAME}.padded", reader.input[2]
    reader.input[0] = padded
    graph.node.insert(0, helper.make_node("Pad", [INPUT_NAME, "channel_pads", zero_point], [padded]))


def _give_weights_own_zero_points(graph: onnx.GraphProto) -> None:
    """A zero point of its own for each weight instead of one that layers share, which costs a byte for each channel.

    ONNX Runtime, told to be exact on processors without VNNI, makes uint8 of weights and of their zero points, and
    cannot load a file in which it would do so twice with the same one.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = {name for name, tensor in tensors.items() if tensor.data_type == TensorProto.INT8}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            own = onnx.TensorProto()
            own.CopyFrom(tensors[node.input[2]])
            own.name = node.input[2] = f"{node.input[0]}.zero_point"
            graph.initializer.append(own)
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _store_weights_as_int4(graph: onnx.GraphProto) -> None:
    """Pack int8 weights that fit; a cast back to int8 goes before each, which runtimes do once, on loading the file.

    Without the cast, ONNX Runtime would dequantize the weights and convolve in floating point. Weights of more bits do
    not fit: the largest of every channel is on the last level.
    """
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.INT8 or len(tensor.dims) < 2:
            continue
        levels, wide = numpy_helper.to_array(tensor), tensor.name
        if abs(levels).max() >= 2 ** (INT4_BITS - 1):
            continue
        narrow = f"{wide}.int4"
        graph.initializer[index].CopyFrom(numpy_helper.from_array(levels.astype(ml_dtypes.int4), narrow))
        graph.node.insert(0, helper.make_node("Cast", [narrow], [wide], to=TensorProto.INT8))
