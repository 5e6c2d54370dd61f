"""Hostile files: archives, images and YAML that do harm to who opens them without care.

Whatever of them gets to run makes a file called SPRUNG in the current folder.
"""

import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

SPRUNG = "sprung"

Maker = Callable[[Path], None]
"""Writes a hostile file to a path."""


class Trap:
    """Unpickled, it makes the file SPRUNG."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (Path(SPRUNG),))


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Maker:
    """A tar of one member, which may be a link or a device."""

    def make(path: Path) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        with tarfile.open(path, "w") as tar:
            tar.addfile(member)

    return make


def zip_member(name: str, mode: int = 0o100644) -> Maker:
    """A zip of one member with a Unix file mode, which may be that of a link."""

    def make(path: Path) -> None:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, "/etc/passwd")

    return make


OUTSIDE: dict[str, Maker] = {
    "symbolic link.tar": tar_member("train/cat/1.png", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link.tar": tar_member("train/cat/1.png", tarfile.LNKTYPE, "../outside"),
    "pipe.tar": tar_member("train/cat/1.png", tarfile.FIFOTYPE),
    "character device.tar": tar_member("train/cat/1.png", tarfile.CHRTYPE),
    "block device.tar": tar_member("train/cat/1.png", tarfile.BLKTYPE),
    "sparse.tar": tar_member("train/cat/1.png", tarfile.GNUTYPE_SPARSE),
    "absolute path.tar": tar_member("/tmp/sprung"),
    "parent.tar": tar_member("../sprung"),
    "parent within.tar": tar_member("train/../../sprung"),
    "symbolic link.zip": zip_member("train/cat/1.png", 0o120777),
    "absolute path.zip": zip_member("/tmp/sprung"),
    "parent.zip": zip_member("../sprung"),
    "backslashes.zip": zip_member("..\\..\\sprung"),
}
"""Archives whose unpacking would write or read elsewhere."""


def picture_bomb(path: Path) -> None:
    """A zip of a PNG of ten billion pixels."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/cat/1.png", png(100_000, 100_000, 1, 0, zlib.compress(bytes(10**6))))


def png(width: int, height: int, bits: int, colours: int, data: bytes) -> bytes:
    """A PNG of any header and compressed data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def holding(content: bytes) -> Maker:
    """A file of these bytes."""

    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


NO_IMAGES: dict[str, Maker] = {
    "empty.png": lambda path: path.touch(),
    "text.png": holding(b"hello"),
    "program.jpg": holding(b"\x7fELF" + bytes(1000)),
    "page.gif": holding(b"<html><script>alert(1)</script></html>"),
    "postscript.png": holding(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(sprung) (w) file\n"),
    "cut.png": holding(png(32, 32, 8, 2, zlib.compress(bytes(97 * 32))[:10])),
    "deep.png": holding(png(32, 32, 16, 2, zlib.compress(bytes(193 * 32)))),
    "huge.png": holding(png(100_000, 100_000, 1, 0, zlib.compress(bytes(10**6)))),
    "pickle.png": holding(pickle.dumps(Trap())),
}
"""Files that are no images, or none that fits 8 bits and the memory."""


def laughs(first: str, repeat: Callable[[str], str]) -> str:
    """YAML of ten lines, each of which names the one before ten times."""
    lines = [f"a0: &a0 {first}"] + [f"a{n}: &a{n} {repeat(f'*a{n - 1}')}" for n in range(1, 11)]
    return "\n".join(lines) + "\n"


YAML_TEXTS: dict[str, str] = {
    "command": "seed: !!python/object/apply:os.system ['touch sprung']\n",
    "object": "seed: !!python/object/new:pathlib.Path [sprung]\n",
    "name": "seed: !!python/name:os.system\n",
    "module": "seed: !!python/module:os\n",
    "lists": laughs("[lol, lol]", lambda name: f"[{', '.join([name] * 10)}]"),
    "mappings": laughs("{k: v}", lambda name: "{" + ", ".join(f"k{i}: {name}" for i in range(10)) + "}"),
    "merges": laughs("{k: v}", lambda name: f"{{<<: [{', '.join([name] * 10)}]}}"),
    "top list": "- &a0 [lol]\n" + "".join(f"- &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(10)),
    "recursion": "seed: &a [*a]\n",
    "depth": "seed: " + "[" * 10**5 + "\n",
    "number": "seed: 0x" + "f" * 10**5 + "\n",
    "bytes": "seed: \x00\x01\n",
}
"""YAML that builds objects, or grows when it is read or printed."""
