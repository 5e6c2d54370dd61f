"""A converted network that can be run, and opening one by its file's ending."""

import importlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.programs.manifest import Manifest

OPENERS = {
    ".onnx": "selectq.programs.onnx_runtime",
    ".pt2": "selectq.programs.torch_export",
    ".pte": "selectq.programs.executorch",
}
"""File ending -> the module whose `open_program` opens it; imported when needed, so that ONNX needs no torch."""


class Program(Protocol):
    """A network in a form that can be run."""

    manifest: Manifest

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, 3, H, W), N at most what the program allows, -> float32 (N, classes)."""


def open_program(path: Path) -> Program:
    """Open a model file of any format.

    Raises:
        UserError: the file is missing, of no known format, damaged, or no program of selectq's.
    """
    if path.suffix not in OPENERS:
        raise UserError(f"{path}: {path.suffix or 'no'} ending; a model file ends in {', '.join(OPENERS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    program: Program = importlib.import_module(OPENERS[path.suffix]).open_program(path)
    return program
