"""The ONNX graph of a reference network, written node by node.

ONNX Runtime finds an integer operator where a float one stands between dequantize and quantize operators. Nodes that
only move values move integer codes; those that choose and order channels do so where they are read, see `channels`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID
from selectq.export.channels import CHANNEL_MOVES, Channels, Piece
from selectq.export.onnx import IR_VERSION, OPSET, codes_of
from selectq.export.reference import UINT8, DequantizeParameters, QuantizeDequantize, ReferenceNetwork
from selectq.files import METADATA_KEY
from selectq.graph.nodes import PIXELS, AveragePool, Conv, MaxPool, Node
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME, Input, Manifest
from selectq.quantization.network import (
    GATE_SHIFT,
    GATE_SLOPE,
    AddNode,
    ConvNode,
    Layer,
    LinearNode,
    LookupNode,
    MulNode,
    Network,
    NodeModule,
    PoolNode,
    Site,
)

INT4_BITS = 4
CHANNELS_AT_ONCE = 4

Shapes = Mapping[str, tuple[int, ...]]
"""Node name -> the shape of what it puts out, without the batch."""


def build_onnx(reference: ReferenceNetwork, manifest: Manifest) -> ModelProto:
    """The integer network as an ONNX model, with the manifest in its metadata, under `selectq`."""
    weight_bits = {layer.name: layer.weight_bits for layer in manifest.layers}
    shapes = node_shapes(reference.network, manifest.image_size)
    graph = GraphWriter(reference.network, shapes, weight_bits, manifest.input).write()
    return checked_model(graph, {METADATA_KEY: manifest.to_json()})


def checked_model(graph: GraphProto, metadata: Mapping[str, str]) -> ModelProto:
    """A graph as a model, in the versions that this package writes."""
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, producer_name="selectq", opset_imports=[opset], ir_version=IR_VERSION)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    checker.check_model(model)
    return model


@torch.no_grad()
def node_shapes(network: Network, image_size: int) -> Shapes:
    """Found by running a network on one image of `image_size` pixels."""
    shapes: dict[str, tuple[int, ...]] = {PIXELS: (3, image_size, image_size)}

    def note(module: nn.Module, output: Tensor) -> None:
        assert isinstance(module, NodeModule)
        shapes[module.name] = tuple(output.shape[1:])

    network.watched(torch.zeros(1, *shapes[PIXELS]), note)
    return shapes


class GraphWriter:
    """Writes the nodes of a network in order of execution.

    Args:
        network: the reference form's.
        shapes: of all nodes, the input included.
        weight_bits: of every layer; weights of 4 bits or fewer are stored as INT4, two in a byte.
        taken: what the program takes.
    """

    def __init__(self, network: Network, shapes: Shapes, weight_bits: Mapping[str, int], taken: Input) -> None:
        self._network, self._shapes, self._weight_bits, self._taken = network, shapes, weight_bits, taken
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
        self._constants: dict[tuple[Any, ...], str] = {}  # type, shape and content -> name
        self._channels = Channels(network.graph, shapes)
        self._codes = {PIXELS: INPUT_NAME}  # node -> the tensor of its integer codes
        self._ordered: dict[str, str] = {}  # node -> the same, where that lies in another order than it is read
        self._parts: dict[Piece, str] = {}  # between cuts -> the tensor of their codes
        self._values: dict[str, str] = {}  # a tensor of codes -> the same, dequantized
        self._missing_channels = 0

    def write(self) -> GraphProto:
        """Input `pixels`, as described; output `logits`, float32 (batch, classes)."""
        self._codes[PIXELS] = self._read_pixels()
        self._missing_channels = self._pad_pixels()
        for node in self._network.graph.nodes[1:]:
            module = self._network[node.name]
            if isinstance(module, Site) and module.stored:
                self._codes[node.name] = self._store(module, self._compute(module, f"{node.name}.result"))
            elif isinstance(module, Site):
                self._compute(module, OUTPUT_NAME)
            elif not isinstance(node.operation, CHANNEL_MOVES):
                self._codes[node.name] = self._move(node)
        last = self._network.graph.output.name
        final = self._network[last]
        if not isinstance(final, Site) or final.stored:  # otherwise, logits come from the accumulators
            self._dequantize(self._in_order(last), *self._parameters(last), OUTPUT_NAME)
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(self._taken.dtype))
        shape: list[str | int] = ["batch", *self._taken.shape(self._shapes[PIXELS][-1])]
        pixels = helper.make_tensor_value_info(INPUT_NAME, dtype, shape)
        logits = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", *self._shapes[last]])
        return helper.make_graph(self._nodes, "selectq", [pixels], [logits], self._tensors)

    def _read_pixels(self) -> str:
        """The pixels' integer codes, (batch, 3, H, W), of what the program takes."""
        images, normalization = INPUT_NAME, self._network.normalization
        if self._taken.layout == "nhwc":
            images = self._add("Transpose", [images], f"{INPUT_NAME}.nchw", perm=[0, 3, 1, 2])
        if self._taken.dtype == "uint8":
            return images
        if normalization != INTEGER_GRID:  # where normalised pixels are a grid, its scale and zero point undo it
            factor, shift = (
                np.reshape(each, (3, 1, 1)) for each in (1 / np.array(normalization.scale), normalization.shift)
            )
            images = self._add("Mul", [images, self._constant(factor, np.float32)], f"{INPUT_NAME}.scaled")
            images = self._add("Add", [images, self._constant(shift, np.float32)], f"{INPUT_NAME}.shifted")
        return self._add("QuantizeLinear", [images, *self._parameters(PIXELS)], codes_of(INPUT_NAME))

    def _pad_pixels(self) -> int:
        """Give the images a fourth channel, of zeros, if only convolutions read them; returns how many were missing.

        Zero weights go with it: this changes no result. ONNX Runtime convolves int8 directly where channels come in
        fours; otherwise it copies patches first, which takes the stem twice the time and the whole program 5 to 10 %.
        """
        readers = [reader.operation for reader in self._network.graph.readers[PIXELS]]
        if not all(isinstance(reader, Conv) and reader.groups == 1 for reader in readers):
            return 0
        missing = -self._shapes[PIXELS][0] % CHANNELS_AT_ONCE
        pads = self._constant([0, 0, 0, 0, 0, missing, 0, 0], np.int64)  # before each of N, C, H, W, then behind
        inputs = [self._codes[PIXELS], pads, self._constant(self._network.pixel_zero_point, np.uint8)]
        self._codes[PIXELS] = self._add("Pad", inputs, f"{INPUT_NAME}.padded")
        return missing

    # --- nodes that compute

    def _compute(self, module: Site, result: str) -> str:
        """Operators on dequantized inputs; returns the tensor of their result."""
        if isinstance(module, ConvNode) and module.groups == 1:
            return self._convolve_in_any_order(module, result)
        values = [self._value(source) for source in module.node.inputs]
        match module:
            case ConvNode():
                return self._add("Conv", [*values, *self._weights(module)], result, **_windows(module))
            case LinearNode():
                return self._add("Gemm", [*values, *self._weights(module)], result, transB=1)
            case PoolNode():
                return self._average(values, module.operation, result)
            case LookupNode() if module.multiplies:
                return self._add("Mul", [*values, self._gate(module)], result)
        kinds: dict[type[Site], str] = {AddNode: "Add", MulNode: "Mul", LookupNode: "Sigmoid"}
        return self._add(kinds[type(module)], values, result)

    def _convolve_in_any_order(self, conv: ConvNode, result: str) -> str:
        """Of channels as they lie: the weights are put in their order."""
        (source,) = conv.node.inputs
        order = self._channels.reading(source).order
        value = self._value_of(self._gather(source), source)
        return self._add("Conv", [value, *self._weights(conv, order)], result, **_windows(conv))

    def _average(self, values: Sequence[str], pool: AveragePool, result: str) -> str:
        if pool.kernel is None:
            return self._add("GlobalAveragePool", values, result)
        return self._add("AveragePool", values, result, kernel_shape=pool.kernel, strides=pool.stride)

    def _gate(self, module: LookupNode) -> str:
        """What a lookup multiplies its input by, quantized and dequantized."""
        source, name = module.node.inputs[0], f"{module.name}.gate"
        if module.function == "silu":
            result = self._add("Sigmoid", [self._value(source)], f"{name}.result")
        else:
            result = self._hard_sigmoid(source, f"{name}.result")
        assert isinstance(module.gate, QuantizeDequantize)
        scale, zero_point = self._constants_of(module.gate)
        codes = self._add("QuantizeLinear", [result, scale, zero_point], codes_of(name))
        return self._dequantize(codes, scale, zero_point, f"{name}.value")

    def _hard_sigmoid(self, source: str, result: str) -> str:
        """x / 6 + 1 / 2 by reading x's codes with other parameters; what quantizes it clamps it to [0, 1].

        Only where 1 / 2 is a whole number of steps: otherwise by the operator, which runtimes compute in float.
        """
        site = self._network.source(source)
        stored = _stored(site)
        shift = GATE_SHIFT / GATE_SLOPE / stored.scale
        zero_point = stored.zero_point - round(shift)
        if abs(shift - round(shift)) > 1e-4 or not 0 <= zero_point <= UINT8.quant_max:
            return self._add("HardSigmoid", [self._value(source)], result, alpha=GATE_SLOPE, beta=GATE_SHIFT)
        read = self._constant(stored.scale * GATE_SLOPE, np.float32), self._constant(zero_point, np.uint8)
        return self._dequantize(self._in_order(source), *read, result)

    def _store(self, site: Site, result: str) -> str:
        """Quantize a result; returns the tensor of its codes, clipped where the grid is not all of [0, 255]."""
        stored, name = _stored(site), codes_of(site.name)
        if stored.integers == UINT8:
            return self._add("QuantizeLinear", [result, *self._constants_of(stored)], name)
        codes = self._add("QuantizeLinear", [result, *self._constants_of(stored)], f"{name}.unclipped")
        ends = (self._constant(end, np.uint8) for end in (stored.integers.quant_min, stored.integers.quant_max))
        return self._add("Clip", [codes, *ends], name)

    # --- nodes that move codes

    def _move(self, node: Node) -> str:
        """Operators on integer codes; returns the tensor that they put out."""
        codes, name = self._in_order(node.inputs[0]), codes_of(node.name)
        match node.operation:
            case MaxPool(kernel, stride, padding, ceil_mode):
                windows = {"kernel_shape": kernel, "strides": stride, "pads": padding * 2, "ceil_mode": int(ceil_mode)}
                return self._add("MaxPool", [codes], name, **windows)
        return self._add("Reshape", [codes, self._constant([-1, *self._shapes[node.name]], np.int64)], name)  # Flatten

    def _gather(self, name: str) -> str:
        """The codes of what a node puts out, its channels in the order of `Channels.reading`."""
        if name not in self._codes:
            parts = [part for piece in self._channels.reading(name).pieces for part in self._cut(piece)]
            self._codes[name] = parts[0] if len(parts) == 1 else self._add("Concat", parts, codes_of(name), axis=1)
        return self._codes[name]

    def _in_order(self, name: str) -> str:
        """The same in the order in which they are read."""
        codes, reading = self._gather(name), self._channels.reading(name)
        if not reading.is_ordered and name not in self._ordered:
            places = self._constant(reading.places, np.int64)
            self._ordered[name] = self._add("Gather", [codes, places], f"{codes}.ordered", axis=1)
        return self._ordered.get(name, codes)

    def _cut(self, piece: Piece) -> list[str]:
        """The tensors of codes that make up a piece."""
        source, cuts = piece.source, self._channels.cuts(piece.source)
        if (piece.start, piece.stop) == (0, cuts[-1]):
            return [self._codes[source]]
        parts = [Piece(source, *ends) for ends in pairwise(cuts)]
        if parts[0] not in self._parts:
            names = [f"{codes_of(source)}.{part.start}" for part in parts]
            sizes = self._constant([part.stop - part.start for part in parts], np.int64)
            self._nodes.append(helper.make_node("Split", [self._codes[source], sizes], names, axis=1))
            self._parts |= dict(zip(parts, names, strict=True))
        return [self._parts[part] for part in parts if piece.start <= part.start < piece.stop]

    # --- stored values and parameters

    def _value(self, name: str) -> str:
        """What a node puts out, as floats."""
        return self._value_of(self._in_order(name), name)

    def _value_of(self, codes: str, name: str) -> str:
        """A tensor of the codes that a node puts out, as floats."""
        if codes not in self._values:
            tensor = f"{name}.value" if codes == self._codes[name] else f"{codes}.value"
            self._values[codes] = self._dequantize(codes, *self._parameters(name), tensor)
        return self._values[codes]

    def _parameters(self, name: str) -> tuple[str, str]:
        """Scale and zero point of the codes that a node puts out."""
        site = self._network.source(name)
        if site is None:
            pixels = self._network.pixel_scale, self._network.pixel_zero_point
            return self._constant(pixels[0], np.float32), self._constant(pixels[1], np.uint8)
        return self._constants_of(_stored(site))

    def _constants_of(self, stored: QuantizeDequantize) -> tuple[str, str]:
        return self._constant(stored.scale, np.float32), self._constant(stored.zero_point, np.uint8)

    def _weights(self, layer: Layer, order: Sequence[int] | None = None) -> tuple[str, str]:
        """A layer's weight and bias, as floats; input channels in another order, if one is given.

        Each weight has a zero point of its own: told to be exact on processors without VNNI, ONNX Runtime makes uint8
        of weights and their zero points, and cannot load a file in which it would do so twice with the same one.
        """
        stored = layer.weight_quantizer
        assert isinstance(stored, DequantizeParameters)
        weight, bias, scales = f"{layer.name}.weight", f"{layer.name}.bias", _array(stored.weight_scales())
        zero_point = self._tensor(f"{weight}.zero_point", np.zeros_like(scales, np.int8))
        weight_inputs = (self._integers(layer, order), self._tensor(f"{weight}.scale", scales), zero_point)
        bias_scales = _array(stored.bias_scales())
        bias_zero_point = self._constant(np.zeros_like(bias_scales), np.int32)
        bias_inputs = (self._tensor(bias, _array(layer.bias)), self._tensor(f"{bias}.scale", bias_scales))
        return (
            self._dequantize(*weight_inputs, f"{weight}.value", axis=0),
            self._dequantize(*bias_inputs, bias_zero_point, f"{bias}.value", axis=0),
        )

    def _integers(self, layer: Layer, order: Sequence[int] | None) -> str:
        """A layer's weight as int8 codes.

        From INT4 they are cast, which runtimes do once, on loading the file. Without the cast, ONNX Runtime would
        dequantize the weights and convolve in floating point.
        """
        name, codes = f"{layer.name}.weight", _array(layer.weight)
        if order is not None:
            codes = codes[:, list(order)]
        if layer.node.inputs[0] == PIXELS:
            codes = np.pad(codes, ((0, 0), (0, self._missing_channels), (0, 0), (0, 0)))
        if self._weight_bits.get(layer.name, 8) > INT4_BITS:
            return self._tensor(name, codes)
        packed = self._tensor(f"{name}.int4", codes.astype(ml_dtypes.int4))
        return self._add("Cast", [packed], name, to=TensorProto.INT8)

    # --- the graph as it grows

    def _dequantize(self, codes: str, scale: str, zero_point: str, name: str, **attributes: int) -> str:
        return self._add("DequantizeLinear", [codes, scale, zero_point], name, **attributes)

    def _add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _tensor(self, name: str, array: NDArray[Any]) -> str:
        self._tensors.append(numpy_helper.from_array(array, name))
        return name

    def _constant(self, value: Any, dtype: type) -> str:
        """A tensor that all share who need the same."""
        array: NDArray[Any] = np.asarray(value, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._tensor(f"{array.dtype}.{len(self._constants)}", array)
        return self._constants[key]


def _stored(site: Site | None) -> QuantizeDequantize:
    assert site is not None and isinstance(site.activation, QuantizeDequantize)
    return site.activation


def _windows(conv: ConvNode) -> dict[str, Any]:
    kernel = list(conv.weight.shape[2:])
    return {"kernel_shape": kernel, "strides": conv.stride, "pads": conv.padding * 2, "group": conv.groups}


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(tensor.detach())
    return array
