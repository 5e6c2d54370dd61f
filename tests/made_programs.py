"""The briefly trained network as program files, each written once: the exporters take seconds."""

import atexit
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

from small_networks import IMAGE_SIZE, checkpoint

from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import ReferenceNetwork, to_reference
from selectq.programs.manifest import Manifest
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme

_folder = tempfile.TemporaryDirectory(prefix="programs")
atexit.register(_folder.cleanup)


@dataclass(frozen=True)
class Program:
    """A converted network: its simulation, its reference form, and its program file."""

    simulation: Network
    reference: ReferenceNetwork
    manifest: Manifest
    path: Path


@functools.cache
def program_of(chosen: Scheme, ending: str = ".onnx") -> Program:
    """The network under a scheme, in the format of an ending."""
    made = checkpoint(chosen)
    reference, manifest = to_reference(made.network), describe_program(made, IMAGE_SIZE)
    folder = Path(tempfile.mkdtemp(dir=_folder.name))
    path = folder / f"{made.name}{ending}"
    write_program(path, reference, manifest)
    return Program(made.network, reference, manifest, path)
