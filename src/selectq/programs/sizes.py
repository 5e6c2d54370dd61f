"""Where every byte of a program's file goes."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path

import onnx

from selectq.programs.program import open_program

WEIGHTS, BIASES, SCALES, GRAPH = "weights", "biases", "scales", "graph"

_PT2_TENSORS = "data/weights/model_weights_config.json"
_FLOAT_BYTES = 4


def byte_counts(path: Path) -> dict[str, int]:
    """Bytes of a program's file by what they hold: `weights`, `biases`, `scales` (zero points too) and `graph`.

    `graph` is all that is none of the other three, so that the four add up to the file's size. The three are measured
    in an ONNX file's tensors and a .pt2's zip entries; a .pte does not tell its tensors apart, and they are what its
    manifest implies.

    Args:
        path: of a program that `open_program` opens.
    """
    counts = {WEIGHTS: 0, BIASES: 0, SCALES: 0}
    for role, size in _MEASURES[path.suffix](path):
        counts[role] += size
    return {**counts, GRAPH: path.stat().st_size - sum(counts.values())}


def _onnx_parts(path: Path) -> Iterator[tuple[str, int]]:
    graph = onnx.load(path).graph
    stored_as = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}  # INT4 weights
    levels, scales = set(), set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            levels.add(stored_as.get(node.input[0], node.input[0]))
            scales.update(node.input[1:])
    for tensor in graph.initializer:
        if tensor.name in scales:
            yield SCALES, _data_bytes(tensor)
        elif tensor.name in levels:
            yield (WEIGHTS if len(tensor.dims) > 1 else BIASES), _data_bytes(tensor)


def _data_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's data: without its name, type and shape."""
    if tensor.raw_data:
        return len(tensor.raw_data)
    described = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return tensor.ByteSize() - described.ByteSize()


def _pt2_parts(path: Path) -> Iterator[tuple[str, int]]:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.partition("/")[2]: entry.compress_size for entry in archive.infolist()}
        top = archive.namelist()[0].partition("/")[0]
        tensors = json.loads(archive.read(f"{top}/{_PT2_TENSORS}"))["config"]
    for name, tensor in tensors.items():
        # Each tensor's bytes once: two of the same content share an entry.
        size = sizes.pop(f"data/weights/{tensor['path_name']}", 0)
        if name.endswith(("scales", "zero_points")):
            yield SCALES, size
        elif name.endswith(("weight", "bias")):
            yield (WEIGHTS if name.endswith("weight") else BIASES), size


def _pte_parts(path: Path) -> Iterator[tuple[str, int]]:
    """XNNPACK holds weights as int8 with a scale for each output channel, and a float layer's weights as float32."""
    for layer in open_program(path).manifest.layers:
        channels, stays_float = layer.weight_shape[0], layer.output_scale is None
        yield WEIGHTS, prod(layer.weight_shape) * (_FLOAT_BYTES if stays_float else 1)
        yield BIASES, channels * _FLOAT_BYTES
        yield SCALES, 0 if stays_float else channels * _FLOAT_BYTES


_MEASURES: Mapping[str, Callable[[Path], Iterator[tuple[str, int]]]] = {
    ".onnx": _onnx_parts,
    ".pt2": _pt2_parts,
    ".pte": _pte_parts,
}
