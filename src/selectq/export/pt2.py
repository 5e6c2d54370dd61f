"""`.pt2` files: a `torch.export` program of quantize/dequantize operators, for PyTorch."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators that the program consists of
from numpy.typing import NDArray
from torch import Tensor, fx

from selectq.errors import UserError, first_line
from selectq.export import pt2_archive
from selectq.export.pt2_archive import MANIFEST_FILE, checked_archive
from selectq.programs.format import BIASES, SCALES, WEIGHTS, Backend, Format, Logits, Pixels, Program, Stored
from selectq.programs.manifest import Manifest
from selectq.programs.program import register

if TYPE_CHECKING:
    from selectq.export.reference import ReferenceNetwork
    from selectq.quantization.network import Network

TRACED_BATCH = 2
NO_DATE = (1980, 1, 1, 0, 0, 0)


class Pt2Format(Format):
    """See the module."""

    ending, title, runtime, package = "pt2", "PyTorch (torch.export)", "PyTorch", "torch"
    in_float = "all arithmetic, between integers that are stored"
    size_note = "(as the archive compresses them)"

    def write(self, reference: "ReferenceNetwork", manifest: Manifest) -> bytes:
        """The manifest is a file of the archive."""
        from selectq.export.exported import export_program, forget_sources  # noqa: PLC0415  # reading needs none of it

        normalization = reference.network.normalization
        program = export_program(reference, manifest, normalization, TRACED_BATCH, largest_batch=None)
        forget_sources(program)
        archive = io.BytesIO()
        torch.export.save(program, archive, extra_files={MANIFEST_FILE: manifest.to_json()})
        return _compressed(archive)

    def open(self, path: Path) -> Program:
        """Nothing in the file can run code; see `pt2_archive`."""
        manifest, module = _load(path)
        return Program(manifest, lambda images: _run(module, images))

    def parts(self, path: Path) -> Iterator[tuple[str, int]]:
        """As the zip's entries have them."""
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename.partition("/")[2]: entry.compress_size for entry in archive.infolist()}
            top = archive.namelist()[0].partition("/")[0]
            tensors = json.loads(archive.read(f"{top}/{pt2_archive.WEIGHTS}"))["config"]
        for name, tensor in tensors.items():
            # Each tensor's bytes once: two of the same content share an entry.
            size = sizes.pop(f"data/weights/{tensor['path_name']}", 0)
            if name.endswith(("scales", "zero_points")):
                yield SCALES, size
            elif name.endswith(("weight", "bias")):
                yield (WEIGHTS if name.endswith("weight") else BIASES), size

    def backends(self, path: Path, network: "Network") -> list[Backend]:
        """With stored values: those that are quantized and dequantized, less the gates of lookups, which come first."""
        manifest, module = _load(path)
        of_pixels = manifest.input.of_pixels
        gates = [getattr(site, "multiplies", False) for site in network.sites()]

        def stored(pixels: Pixels) -> Stored:
            recorder = _Recorder(module)
            with torch.no_grad():
                recorder.run(torch.from_numpy(of_pixels(pixels)))
            found = (values.numpy() for values in recorder.stored)
            return [(next(found), next(found))[1] if gate else next(found) for gate in gates]

        return [Backend("torch_export", lambda pixels: _run(module, of_pixels(pixels)), stored)]

    def prepare(self, path: Path, images: NDArray[Any], threads: int) -> Callable[[], Any]:
        """The number of threads is the process's."""
        torch.set_num_threads(threads)
        return super().prepare(path, images, threads)


register(Pt2Format())


def _load(path: Path) -> tuple[Manifest, fx.GraphModule]:
    archive = checked_archive(path)
    extra_files = {MANIFEST_FILE: ""}
    try:
        program = torch.export.load(archive, extra_files=extra_files)
    except Exception as error:  # torch raises anything on archives that are not its own
        raise UserError(f"{path}: not a torch.export program that can be loaded ({first_line(error)})") from None
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    return Manifest.from_json(extra_files[MANIFEST_FILE], str(path)), module


@torch.no_grad()
def _run(module: fx.GraphModule, images: NDArray[Any]) -> Logits:
    logits: Logits = module(torch.from_numpy(images)).numpy()
    return logits


class _Recorder(fx.Interpreter):
    """Runs a program operator by operator; keeps what it quantizes, perhaps clips, and dequantizes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.stored: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        """Run an operator."""
        result = super().run_node(n)
        operators = torch.ops.quantized_decomposed
        stores = (operators.quantize_per_tensor.default, torch.ops.aten.clamp.default)
        dequantizes = n.target is operators.dequantize_per_tensor.default
        if dequantizes and isinstance(n.args[0], fx.Node) and n.args[0].target in stores:
            self.stored.append(result)
        return result


def _compressed(archive: io.BytesIO) -> bytes:
    """The archive with its entries compressed: torch pads each to 64 bytes, and writes the graph as JSON."""
    packed = io.BytesIO()
    with zipfile.ZipFile(archive) as loose, zipfile.ZipFile(packed, "w") as tight:
        for name in loose.namelist():
            entry = zipfile.ZipInfo(name, NO_DATE)
            tight.writestr(entry, loose.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()
