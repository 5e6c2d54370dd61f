"""A model's files: which there are, what runs them, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selectq.errors import UserError
from selectq.files import sha256
from selectq.programs.manifest import Manifest
from selectq.programs.snippets import onnx_lines
from selectq.report.formatting import NOTHING, Column, Table, megabytes
from selectq.report.markdown import code, markdown_table, prose

RUNTIMES = {
    "onnx": "ONNX Runtime from 1.18 on (opset 21)",
    "pt2": "PyTorch, `torch.export.load`",
    "pte": "ExecuTorch with XNNPACK",
}
PACKAGES = {"onnx": "onnxruntime", "pt2": "torch", "pte": "executorch"}
"""Format -> the package that runs it."""


@dataclass(frozen=True)
class ModelFile:
    """A model in one format; `path` as readers are told it."""

    path: Path
    size_bytes: int
    sha256: str

    @property
    def format(self) -> str:
        """One of RUNTIMES."""
        return self.path.suffix[1:]


def find_files(folder: Path, name: str, measured: Mapping[str, int]) -> tuple[ModelFile, ...]:
    """The files `<name>.<format>` in a folder; `measured` is format -> size in bytes of the file that was measured.

    Raises:
        UserError: a file is missing, or is not the one that was measured.
    """
    files = []
    for path, size in ((folder / f"{name}.{format_}", size) for format_, size in measured.items()):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run the stage that writes it")
        if path.stat().st_size != size:
            raise UserError(f"{path}: {path.stat().st_size} bytes, but {size} were measured; run convert@{name}")
        files.append(ModelFile(path, size, sha256(path)))
    return tuple(files)


def write_files(files: Sequence[ModelFile], manifest: Manifest, versions: Mapping[str, str]) -> list[str]:
    """The files as Markdown: a table, their hashes, and how to run them; `versions` are those of the measurements."""
    columns = (
        Column("File", cell=lambda file: f"`{file.path}`"),
        Column("Size", "number", lambda file: megabytes(file.size_bytes)),
        Column("Runs in", cell=lambda file: RUNTIMES.get(file.format, file.format)),
        Column("Measured with", cell=lambda file: versions.get(PACKAGES.get(file.format, ""), NOTHING)),
    )
    onnx = next(file for file in files if file.format == "onnx")
    return [
        *markdown_table(columns, Table.of("", columns, files).rows),
        "",
        *code("text", [f"{file.sha256}  {file.path}" for file in files]),
        "",
        *prose(
            "Above are the files' sha256. Below, an image's class: by this package, from any of the files; without it,"
            " from the ONNX file with onnxruntime, numpy and pillow."
        ),
        "",
        *code("sh", [f"selectq predict {onnx.path} image.png --resize"]),
        "",
        *code("python", onnx_lines(str(onnx.path), manifest)["python"]),
    ]
