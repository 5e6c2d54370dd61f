"""Running an ONNX program, without torch."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from selectq.errors import UserError
from selectq.export.onnx_program import INPUT_NAME, OUTPUT_NAME
from selectq.progress import progress

BATCH = 250


def open_session(path: Path, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU; `optimised` keeps the graph as the runtime rewrote it.

    Raises:
        UserError: the file is missing or no ONNX program that the runtime can load.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: writing an optimised graph is announced as a warning
    if optimised:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are not public
        raise UserError(f"{path}: not an ONNX program that can be loaded ({str(error).splitlines()[0]})") from None


def program_logits(session: onnxruntime.InferenceSession, pixels: np.ndarray, label: str) -> np.ndarray:
    """uint8 (N, 3, H, W) -> float32 logits (N, classes)."""
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    bar = progress(batches, len(batches), label)
    return np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0] for batch in bar])


def operator_counts(path: Path) -> dict[str, int]:
    """How often each operator stands in the graph as ONNX Runtime optimises it for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        open_session(path, optimised)
        return dict(sorted(Counter(node.op_type for node in onnx.load(optimised).graph.node).items()))
