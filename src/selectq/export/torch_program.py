"""Writing the reference form as a `.pt2` file: a `torch.export` program of quantize/dequantize operators."""

import io
import zipfile
from importlib.metadata import version
from pathlib import Path

import torch

from selectq.export.exported import export_program, forget_sources
from selectq.export.reference import ReferenceNetwork
from selectq.files import write_bytes
from selectq.programs.manifest import Manifest
from selectq.programs.torch_archive import MANIFEST_FILE

TRACED_BATCH = 2
NO_DATE = (1980, 1, 1, 0, 0, 0)


def write_pt2(path: Path, reference: ReferenceNetwork, manifest: Manifest) -> None:
    """Export to `.pt2`; the same network gives the same bytes.

    Args:
        path: of the file.
        reference: the integer network.
        manifest: kept in the file.
    """
    program = export_program(reference, manifest.image_size, TRACED_BATCH, largest_batch=None)
    forget_sources(program)
    archive = io.BytesIO()
    described = manifest.for_runtime(f"PyTorch {version('torch')}, which wrote it; others may not load it")
    torch.export.save(program, archive, extra_files={MANIFEST_FILE: described.to_json()})
    write_bytes(path, _compressed(archive))


def _compressed(archive: io.BytesIO) -> bytes:
    """The archive with its entries compressed: torch pads each to 64 bytes, and writes the graph as JSON."""
    packed = io.BytesIO()
    with zipfile.ZipFile(archive) as loose, zipfile.ZipFile(packed, "w") as tight:
        for name in loose.namelist():
            entry = zipfile.ZipInfo(name, NO_DATE)
            tight.writestr(entry, loose.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()
