"""Writing the reference form as an ONNX file of quantize/dequantize operators with integer weights."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from selectq.export.onnx_graph import GraphWriter, Shapes
from selectq.export.reference import ReferenceNetwork
from selectq.files import METADATA_KEY, write_bytes
from selectq.graph.nodes import PIXELS
from selectq.programs.manifest import Manifest
from selectq.quantization.network import Network, NodeModule

OPSET, IR_VERSION = 21, 10
RUNTIME = f"ONNX Runtime 1.18 or newer (opset {OPSET})"


def write_onnx(path: Path, reference: ReferenceNetwork, manifest: Manifest) -> None:
    """Export to ONNX: input `pixels`, uint8 (batch, 3, H, W); output `logits`, float32 (batch, classes).

    Args:
        path: of the file; the same network gives the same bytes.
        reference: the integer network.
        manifest: kept in the file's metadata under `selectq`.
    """
    write_bytes(path, build_onnx(reference, manifest).SerializeToString(deterministic=True))


def build_onnx(reference: ReferenceNetwork, manifest: Manifest) -> onnx.ModelProto:
    """The ONNX model that `write_onnx` writes."""
    weight_bits = {layer.name: layer.weight_bits for layer in manifest.layers}
    graph = GraphWriter(reference.network, node_shapes(reference.network, manifest.image_size), weight_bits).write()
    return checked_model(graph, {METADATA_KEY: manifest.for_runtime(RUNTIME).to_json()})


def checked_model(graph: onnx.GraphProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """A graph as a model, in the versions that this package writes."""
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, producer_name="selectq", opset_imports=[opset], ir_version=IR_VERSION)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
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
