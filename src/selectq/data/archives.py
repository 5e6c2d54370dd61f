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

from selectq.data.left_out import LeftOut
from selectq.errors import UserError

_ENCRYPTED, _UTF8 = 0x1, 0x800
"""Flags of a zip's entries."""

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

SYSTEM_NAMES = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir", "lost+found")
"""What operating systems leave among files, in lower case; names that begin with a dot are theirs too."""

NOT_PLAIN = "a link, a device or sparse"


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


def read_folder(folder: Path, limits: Limits, left_out: LeftOut) -> Iterator[File]:
    """Yield the plain files below `folder`, but for the operating system's; links are not followed.

    `left_out` gets links, devices, and files that are larger than they may be.

    Raises:
        UserError: a limit is passed.
        OSError: a file or folder cannot be read.
    """
    meter = _Meter(folder.name, limits)
    pending = [folder]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            inside = PurePosixPath(path.relative_to(folder).as_posix())
            if _of_the_system(inside):
                continue
            meter.start(str(inside))
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif _is_read(inside, stat.S_ISREG(status.st_mode), status.st_size, limits, left_out):
                with path.open("rb") as file:
                    yield File(inside, meter.read(file))


def read_archive(archive: IO[bytes], name: str, limits: Limits, left_out: LeftOut) -> Iterator[File]:
    """Yield the plain files of a zip, or of a tar (plain, gz, bz2 or xz), but for the operating system's.

    `archive` is seekable; messages call it `name`. `left_out` gets links, devices, and files that are too large.

    Raises:
        UserError: not such an archive, damaged, an unsafe path, or a limit is passed.
    """
    is_zip = any(_starts_with(archive, magic) for magic in _ZIP_MAGICS)
    files = (_read_zip if is_zip else _read_tar)(archive, name, _Meter(name, limits), left_out)
    while True:
        try:
            file = next(files, None)
        except _DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise UserError(f"{name}: damaged, or neither a zip nor a tar (plain, gz, bz2, xz): {reason}") from None
        if file is None:
            return
        yield file


def _read_zip(archive: IO[bytes], name: str, meter: "_Meter", left_out: LeftOut) -> Iterator[File]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            path = _safe_path(name, _zip_name(entry))
            meter.start(entry.filename)
            if entry.is_dir() or _of_the_system(path):
                continue
            if entry.flag_bits & _ENCRYPTED:
                raise UserError(f"{name}: {entry.filename!r} is encrypted; pack the images without a password")
            # The upper half holds the Unix file mode, 0 where the packer knew none.
            plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
            if _is_read(path, plain, entry.file_size, meter.limits, left_out):
                with opened.open(entry) as file:
                    yield File(path, meter.read(file))


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """An entry's name; macOS writes UTF-8 and does not say so, which `zipfile` takes for the code page of old DOS."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _read_tar(archive: IO[bytes], name: str, meter: "_Meter", left_out: LeftOut) -> Iterator[File]:
    stream = cast(IO[bytes], _MeteredStream(_decompressed(archive), meter))  # tarfile calls read alone
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK_BYTES) as tar:
        for member in tar:
            path = _safe_path(name, member.name)
            meter.start(member.name, passed_over=member.size > meter.limits.file_bytes)
            if member.isdir() or _of_the_system(path):
                continue
            plain = member.isreg() and not member.issparse()
            if _is_read(path, plain, member.size, meter.limits, left_out):
                yield File(path, cast(IO[bytes], tar.extractfile(member)).read())
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


def _is_read(path: PurePosixPath, plain: bool, size: int, limits: Limits, left_out: LeftOut) -> bool:
    if not plain:
        left_out.add(NOT_PLAIN, path)
    elif size > limits.file_bytes:
        left_out.add(f"larger than {limits.file_bytes} bytes", path)
    return plain and size <= limits.file_bytes


def _of_the_system(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in path.parts)


class _Meter:
    """Counts members and unpacked bytes, and raises a UserError where a limit is passed."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name, self.limits = name, limits
        self._member, self._passed_over = "", False
        self._files = self._file_bytes = self._total_bytes = 0

    def start(self, member: str, passed_over: bool = False) -> None:
        """Begin the next member; of one that is passed over, the size counts in the total alone."""
        self._member, self._passed_over = member, passed_over
        self._file_bytes = 0
        self._files += 1
        if self._files > self.limits.files:
            raise UserError(f"{self._name}: holds more than {self.limits.files} files and folders")

    def add(self, length: int) -> None:
        self._file_bytes += length
        self._total_bytes += length
        if self._file_bytes > self.limits.file_bytes and not self._passed_over:
            raise UserError(f"{self._name}: {self._member!r} is larger than {self.limits.file_bytes} bytes")
        if self._total_bytes > self.limits.total_bytes:
            raise UserError(f"{self._name}: unpacks to more than {self.limits.total_bytes} bytes")

    def read(self, file: IO[bytes]) -> bytes:
        content = file.read(self.limits.file_bytes + 1)
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
