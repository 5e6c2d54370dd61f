"""A float network as an ONNX file: what an INT8 program is to be measured beside."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, TensorProto, helper

from selectq.export.channels import CHANNEL_MOVES
from selectq.export.onnx_graph import GraphWriter, checked_model, node_shapes
from selectq.files import write_bytes
from selectq.graph.bounds import HARD_SWISH_INPUT, RELU, UNBOUNDED
from selectq.graph.nodes import PIXELS
from selectq.programs.manifest import OUTPUT_NAME, Input
from selectq.quantization.network import GATE_SHIFT, GATE_SLOPE, Layer, LookupNode, Network, Site

INPUT_NAME = "images"


def write_float_onnx(path: Path, network: Network, image_size: int) -> None:
    """Export to ONNX: input `images`, float32 (batch, 3, H, W), normalised; output `logits`, float32 (batch, classes).

    Args:
        path: of the file; the same network gives the same bytes.
        network: a folded float network on the CPU, without a node that normalises.
        image_size: height and width in pixels.
    """
    graph = FloatGraphWriter(network, node_shapes(network, image_size), {}, Input()).write()
    write_bytes(path, checked_model(graph, {}).SerializeToString(deterministic=True))


class FloatGraphWriter(GraphWriter):
    """The same operators on float values: nothing is quantized, and activation functions are operators."""

    def write(self) -> GraphProto:
        """Input `images`, output `logits`; see `write_float_onnx`."""
        self._codes[PIXELS] = INPUT_NAME
        for node in self._network.graph.nodes[1:]:
            module = self._network[node.name]
            if isinstance(module, Site):
                self._codes[node.name] = self._activated(module, f"{node.name}.result")
            elif not isinstance(node.operation, CHANNEL_MOVES):
                self._codes[node.name] = self._move(node)
        last = self._network.graph.output.name
        self._add("Identity", [self._in_order(last)], OUTPUT_NAME)
        images = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", *self._shapes[PIXELS]])
        logits = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", *self._shapes[last]])
        return helper.make_graph(self._nodes, "selectq", [images], [logits], self._tensors)

    def _activated(self, site: Site, result: str) -> str:
        """What a site computes, behind its activation function. A hard-swish needs no clamp of what it reads."""
        value, bounds = self._compute(site, result), site.bounds
        if bounds in (UNBOUNDED, HARD_SWISH_INPUT):
            return value
        if bounds == RELU:
            return self._add("Relu", [value], f"{site.name}.activated")
        ends = ["" if np.isinf(end) else self._constant(end, np.float32) for end in (bounds.low, bounds.high)]
        return self._add("Clip", [value, *ends], f"{site.name}.activated")

    def _gate(self, module: LookupNode) -> str:
        value, name = self._value(module.node.inputs[0]), f"{module.name}.gate"
        if module.function == "silu":
            return self._add("Sigmoid", [value], name)
        return self._add("HardSigmoid", [value], name, alpha=GATE_SLOPE, beta=GATE_SHIFT)

    def _value_of(self, codes: str, name: str) -> str:
        return codes

    def _weights(self, layer: Layer, order: Sequence[int] | None = None) -> tuple[str, str]:
        weight, bias = (tensor.detach().numpy() for tensor in (layer.weight, layer.bias))
        weight = weight if order is None else weight[:, list(order)]
        return self._tensor(f"{layer.name}.weight", weight), self._tensor(f"{layer.name}.bias", bias)
