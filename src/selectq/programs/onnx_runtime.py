"""Programs in ONNX Runtime, without torch."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from selectq.errors import UserError, first_line
from selectq.files import METADATA_KEY
from selectq.programs.manifest import EXACT_PRODUCTS, INPUT_NAME, OUTPUT_NAME, Manifest

INTEGER_OPERATORS = (
    "QLinearConv",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearSigmoid",
    "Clip",
    "MaxPool",
    "NhwcMaxPool",
)
"""What computes on integers in an optimised program; `Clip` is a ReLU on integer codes.

That clips and pools are not in float shows in the counts: between integers, it takes a DequantizeLinear to get there.
"""

MOVING_OPERATORS = ("Transpose", "Reshape", "Pad", "Slice", "Split", "Concat", "Gather")
"""What moves values and computes nothing."""


def codes_of(name: str) -> str:
    """The tensor that holds the integer codes of a network's node."""
    return f"{name}.codes"


@dataclass(frozen=True)
class OnnxProgram:
    """An ONNX file of selectq's in an ONNX Runtime session."""

    manifest: Manifest
    session: onnxruntime.InferenceSession

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, 3, H, W) -> float32 (N, classes)."""
        logits: NDArray[np.float32] = self.session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
        return logits


def open_program(path: Path) -> OnnxProgram:
    """Open an ONNX file as ONNX Runtime optimises it for this machine.

    Raises:
        UserError: no ONNX file that the runtime can load, a float model, or not of selectq's making.
    """
    session = open_session(path, optimise=True)
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise UserError(f"{path}: {_kind(path)}; an INT8 program written by selectq's convert stage is needed")
    return OnnxProgram(Manifest.from_json(metadata[METADATA_KEY], str(path)), session)


def open_session(model: Path | bytes, optimise: bool, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, exact on every processor.

    Args:
        model: a file, or an ONNX model's bytes.
        optimise: False runs every operator as it is written: dequantize, compute in float, quantize.
        optimised: where to keep the graph as the runtime rewrote it.

    Raises:
        UserError: no ONNX model that the runtime can load.
    """
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: writing an optimised graph is announced as a warning
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.add_session_config_entry(*EXACT_PRODUCTS)
    if optimised:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are not public
        name = model if isinstance(model, Path) else "the model"
        raise UserError(f"{name}: not an ONNX program that ONNX Runtime can load ({first_line(error)})") from None


def operator_counts(path: Path) -> dict[str, int]:
    """How often each operator stands in the graph as ONNX Runtime optimises it for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        open_session(path, optimise=True, optimised=optimised)
        return dict(sorted(Counter(node.op_type for node in onnx.load(optimised).graph.node).items()))


def float_operators(counts: dict[str, int]) -> dict[str, int]:
    """Of `operator_counts`, those that compute in floating point."""
    return {name: count for name, count in counts.items() if name not in INTEGER_OPERATORS + MOVING_OPERATORS}


def _kind(path: Path) -> str:
    quantized = any(node.op_type == "DequantizeLinear" for node in onnx.load(path).graph.node)
    return "a quantized model, but without selectq's description" if quantized else "a float model, not an INT8 one"
