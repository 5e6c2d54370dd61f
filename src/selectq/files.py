"""Outputs that are written whole or not at all, the same bytes for the same content."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from selectq.errors import UserError, first_line

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

METADATA_KEY = "selectq"
"""One metadata entry alone: safetensors writes several in an order that varies from run to run."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write does not say which file it was
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys; refuses nan and infinity, which are not JSON."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier stage wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run the stage that writes it") from None


def write_csv(path: Path, table: "pd.DataFrame", digits: int = 6) -> None:
    """Write a table as CSV with floats rounded to `digits` decimals."""
    write_bytes(path, table.round(digits).to_csv(index=False, lineterminator="\n").encode())


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, Any]) -> None:
    """Write named tensors and JSON metadata as one safetensors file."""
    from safetensors.torch import save  # noqa: PLC0415  # loads torch: seconds that `selectq` and the tables do without

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    header = {METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    write_bytes(path, save(plain, metadata=header))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], Any]":
    """The tensors and the metadata of a file written by `write_tensors`.

    Raises:
        UserError: the file is missing, damaged or of another origin.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118  # not a mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        what = f"not a readable selectq file ({first_line(error)})"
        raise UserError(f"{path}: {what}; run the stage that writes it") from None


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_writable(option: str, path: Path) -> None:
    """Raise a UserError, which names the command line's `option`, where `path` cannot become a file."""
    if path.is_dir() or any(folder.is_file() for folder in path.parents):
        raise UserError(f"{option}: {path} cannot be written: it is a folder, or inside of a file")


@contextlib.contextmanager
def only_writer(path: Path, locks: Path = Path(".checkpoints")) -> Iterator[None]:
    """Hold the right to write `path` for the length of the block; the right ends with the process.

    The lock is a file in the folder `locks`, which outlives it.

    Raises:
        UserError: another process holds it.
    """
    locks.mkdir(parents=True, exist_ok=True)
    lock = locks / (str(path).replace(os.sep, "-") + ".lock")
    with lock.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise UserError(f"{path}: another process (pid {holder}) is writing it; wait for it or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
