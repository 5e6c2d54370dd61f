"""The formats of program files, by their ending."""

from collections.abc import Callable
from pathlib import Path

from selectq.export.executorch_program import write_pte
from selectq.export.onnx_program import write_onnx
from selectq.export.reference import ReferenceNetwork
from selectq.export.torch_program import write_pt2
from selectq.programs.manifest import Manifest

WRITERS: dict[str, Callable[[Path, ReferenceNetwork, Manifest], None]] = {
    ".onnx": write_onnx,
    ".pt2": write_pt2,
    ".pte": write_pte,
}


def write_program(path: Path, reference: ReferenceNetwork, manifest: Manifest) -> None:
    """Write a program in the format of the path's ending; the same network gives the same bytes.

    Raises:
        UserError: what writes the format is not installed.
    """
    WRITERS[path.suffix](path, reference, manifest)
