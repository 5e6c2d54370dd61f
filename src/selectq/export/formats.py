"""Writing program files of any format."""

from pathlib import Path

from selectq.export.reference import ReferenceNetwork
from selectq.files import write_bytes
from selectq.programs.manifest import Manifest
from selectq.programs.program import find


def write_program(path: Path, reference: ReferenceNetwork, manifest: Manifest) -> None:
    """Write a program in the format of the path's ending; the same network gives the same bytes.

    Raises:
        UserError: the format cannot carry the network, or what writes it is not installed.
    """
    made = find(path.suffix[1:])
    made.refuse(reference.network.graph)
    write_bytes(path, made.write(reference, manifest.for_runtime(made.needs)))
