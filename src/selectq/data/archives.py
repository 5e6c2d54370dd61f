"""Reading the files of a tar, a zip or a folder one by one in memory; nothing is ever extracted to disk."""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from selectq.errors import UserError

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_DECOMPRESSORS: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
)
_CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class Limits:
    """What a decompression bomb runs into: measured on what is read, whatever the headers say.

    A file of a tar passes for up to one read-ahead chunk larger than it is.
    """

    file_bytes: int
    total_bytes: int
    files: int


GENEROUS = Limits(file_bytes=2**26, total_bytes=2**36, files=2_000_000)


@dataclass(frozen=True)
class File:
    """A regular file: its path inside the archive or folder, and its bytes."""

    path: PurePosixPath
    content: bytes


def read_folder(folder: Path, limits: Limits) -> Iterator[File]:
    """Yield the files below `folder`; hidden ones are left out.

    Raises:
        UserError: there is a link or a device, or a limit is passed.
        OSError: a file or folder cannot be read.
    """
    meter = _Meter(folder.name, limits)
    pending = [folder]
    while pending:
        for path in pending.pop().iterdir():
            inside = PurePosixPath(path.relative_to(folder).as_posix())
            if _hidden(inside):
                continue
            meter.start(str(inside))
            kind = stat.S_IFMT(path.lstat().st_mode)
            _check_kind(folder.name, str(inside), plain=kind in (stat.S_IFREG, stat.S_IFDIR))
            if kind == stat.S_IFDIR:
                pending.append(path)
            else:
                with path.open("rb") as file:
                    yield File(inside, meter.read(file))


def read_archive(archive: IO[bytes], name: str, limits: Limits) -> Iterator[File]:
    """Yield the files of a zip, or of a tar (plain, gz, bz2 or xz); hidden ones are left out.

    `archive` is open and seekable; `name` is what messages call it.

    Raises:
        UserError: not such an archive, damaged, an unsafe path, a link or a device, or a limit is passed.
    """
    is_zip = any(_starts_with(archive, magic) for magic in _ZIP_MAGICS)
    files = (_read_zip if is_zip else _read_tar)(archive, name, _Meter(name, limits))
    while True:
        try:
            file = next(files, None)
        except _DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise UserError(f"{name}: damaged, or neither a zip nor a tar (plain, gz, bz2, xz): {reason}") from None
        if file is None:
            return
        yield file


def _read_zip(archive: IO[bytes], name: str, meter: "_Meter") -> Iterator[File]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            path = _safe_path(name, entry.filename)
            meter.start(entry.filename)
            # The upper half holds the Unix file mode, 0 where the packer knew none.
            kind = stat.S_IFMT(entry.external_attr >> 16)
            _check_kind(name, entry.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if entry.flag_bits & 1:
                raise UserError(f"{name}: {entry.filename!r} is encrypted; pack the images without a password")
            if not entry.is_dir() and not _hidden(path):
                with opened.open(entry) as file:
                    yield File(path, meter.read(file))


def _read_tar(archive: IO[bytes], name: str, meter: "_Meter") -> Iterator[File]:
    stream = cast(IO[bytes], _MeteredStream(_decompressed(archive), meter))  # tarfile calls read alone
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK_BYTES) as tar:
        for member in tar:
            path = _safe_path(name, member.name)
            meter.start(member.name)
            _check_kind(name, member.name, plain=(member.isreg() and not member.issparse()) or member.isdir())
            data = tar.extractfile(member)
            if data is not None and not _hidden(path):
                yield File(path, data.read())
        _check_end(cast(IO[bytes], tar.fileobj))


def _check_end(rest: IO[bytes]) -> None:
    """Refuse a tar without its end mark; tarfile takes a cut or a broken header for the end."""
    length = 0
    while chunk := rest.read(_CHUNK_BYTES):
        length += len(chunk)
        if chunk.strip(b"\0"):
            raise tarfile.ReadError("broken header")
    if length < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("the end is missing")


def _decompressed(archive: IO[bytes]) -> IO[bytes]:
    for magic, open_compressed in _DECOMPRESSORS.items():
        if _starts_with(archive, magic):
            return open_compressed(archive)
    return archive


def _starts_with(archive: IO[bytes], magic: bytes) -> bool:
    archive.seek(0)
    start = archive.read(len(magic))
    archive.seek(0)
    return start == magic


def _safe_path(name: str, member: str) -> PurePosixPath:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member:
        raise UserError(f"{name}: {member!r} is an unsafe path; allowed: relative paths without '..' or backslashes")
    return path


def _check_kind(name: str, member: str, plain: bool) -> None:
    if not plain:
        raise UserError(f"{name}: {member!r} is a link, a device or sparse; allowed: plain files and folders")


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _Meter:
    """Counts members and unpacked bytes, and raises a UserError where a limit is passed."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name, self._limits = name, limits
        self._member = ""
        self._files = self._file_bytes = self._total_bytes = 0

    def start(self, member: str) -> None:
        self._member = member
        self._file_bytes = 0
        self._files += 1
        if self._files > self._limits.files:
            raise UserError(f"{self._name}: holds more than {self._limits.files} files and folders")

    def add(self, length: int) -> None:
        self._file_bytes += length
        self._total_bytes += length
        if self._file_bytes > self._limits.file_bytes:
            raise UserError(f"{self._name}: {self._member!r} is larger than {self._limits.file_bytes} bytes")
        if self._total_bytes > self._limits.total_bytes:
            raise UserError(f"{self._name}: unpacks to more than {self._limits.total_bytes} bytes")

    def read(self, file: IO[bytes]) -> bytes:
        content = file.read(self._limits.file_bytes + 1)
        self.add(len(content))
        return content


class _MeteredStream:
    """A stream whose every byte, headers included, passes the meter."""

    def __init__(self, stream: IO[bytes], meter: _Meter) -> None:
        self._stream, self._meter = stream, meter

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._meter.add(len(chunk))
        return chunk
