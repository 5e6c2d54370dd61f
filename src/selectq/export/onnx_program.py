"""Writing the reference form as an ONNX file of quantize/dequantize operators with integer weights."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from selectq.export.reference import ReferenceNetwork
from selectq.files import METADATA_KEY, write_bytes

OPSET = 21
INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"


def write_onnx(path: Path, reference: ReferenceNetwork, image_size: int, metadata: dict[str, Any]) -> None:
    """Export to ONNX: input `pixels`, uint8 (batch, 3, H, W); output `logits`, float32 (batch, classes).

    Args:
        path: of the file; the same network gives the same bytes.
        reference: the integer network.
        image_size: height and width of the images in pixels.
        metadata: JSON kept in the file's metadata under `selectq`.
    """
    example = torch.zeros((2, 3, image_size, image_size), dtype=torch.uint8)
    model = _export(reference, example)
    _strip(model)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata, sort_keys=True))
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))


def _export(reference: ReferenceNetwork, example: torch.Tensor) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notices about its own future
        program = torch.onnx.export(
            reference,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
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
