"""Hostile files: archives, images, models and YAML that do harm to who opens them without care.

Whatever of them gets to run makes a file called SPRUNG in the current folder.
"""

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import onnx
import torch
from onnx import TensorProto, helper

SPRUNG = "sprung"
RUNS = f"__import__('pathlib').Path('{SPRUNG}').touch()"
BOMB_BYTES = 2**28
"""Of a file that is to be too large; unpacked, the largest that a data set may hold has a quarter of it."""

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


def tar_bomb(mode: Literal["w:gz", "w:bz2", "w:xz"]) -> Maker:
    """A compressed tar of one file of zeros."""

    def make(path: Path) -> None:
        member = tarfile.TarInfo("train/cat/1.png")
        member.size = BOMB_BYTES
        with tarfile.open(path, mode) as tar:
            tar.addfile(member, io.BytesIO(bytes(BOMB_BYTES)))

    return make


def zip_bomb(path: Path) -> None:
    """A zip of one file of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/cat/1.png", bytes(BOMB_BYTES))


def long_name(path: Path) -> None:
    """A compressed tar with a name that fills the memory."""
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("long/" * (BOMB_BYTES // 5)))


def picture_bomb(path: Path) -> None:
    """A zip of a PNG of ten billion pixels."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/cat/1.png", png(100_000, 100_000, 1, 0, zlib.compress(bytes(10**6))))


BOMBS: dict[str, Maker] = {
    "zeros.tar.gz": tar_bomb("w:gz"),
    "zeros.tar.bz2": tar_bomb("w:bz2"),
    "zeros.tar.xz": tar_bomb("w:xz"),
    "zeros.zip": zip_bomb,
    "name.tar.gz": long_name,
    "picture.zip": picture_bomb,
}
"""Archives that unpack to far more than they are."""


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

WEIGHTS: dict[str, Maker] = {
    "pickle.pth": holding(pickle.dumps(Trap())),
    "zip.pth": lambda path: torch.save({"features.0.0.weight": Trap()}, path),
    "legacy.pth": lambda path: torch.save({"a": Trap()}, path, _use_new_zipfile_serialization=False),
    "pickle.safetensors": holding(pickle.dumps(Trap())),
    "huge header.safetensors": holding(struct.pack("<Q", 2**40) + b"{}"),
}
"""Starting weights with code in them."""


def cifar10_archive(path: Path) -> None:
    """An archive like that of CIFAR-10, whose batches run code when they are unpickled."""
    with tarfile.open(path, "w:gz") as tar:
        for name in ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            content = pickle.dumps(Trap(), protocol=2)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def changed_program(program: Path, changes: Callable[[dict[str, bytes]], None]) -> Maker:
    """A `.pt2` file of selectq's with other entries: name -> content, without the archive's top folder."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(program) as archive:
            entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        changes(entries)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(f"archive/{name}", content)

    return make


def torch_programs(program: Path) -> dict[str, Maker]:
    """A `.pt2` file of selectq's, changed so that torch would run something as it loads it."""
    weights, constants = (f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants"))
    graph = "models/model.json"

    def pickled_weight(entries: dict[str, bytes]) -> None:
        entries[weights] = entries[weights].replace(b'"use_pickle": false', b'"use_pickle": true', 1)
        entries["data/weights/weight_0"] = pickle.dumps(Trap())

    def opaque_constant(entries: dict[str, bytes]) -> None:
        payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        entries[constants] = json.dumps({"config": {"trap": payload}}).encode()
        entries["data/constants/opaque_obj_0"] = pickle.dumps(Trap())

    def guard(entries: dict[str, bytes]) -> None:
        entries[graph] = json.dumps({**json.loads(entries[graph]), "guards_code": [RUNS]}).encode()

    def expression(entries: dict[str, bytes]) -> None:
        entries[graph] = entries[graph].replace(b'"Symbol(', json.dumps(RUNS).encode()[:-1] + b"+(", 1)

    def library(entries: dict[str, bytes]) -> None:
        entries["data/aotinductor/model/model.so"] = b"\x7fELF" + bytes(1000)

    changes = (pickled_weight, opaque_constant, guard, expression, library)
    return {f"{change.__name__}.pt2": changed_program(program, change) for change in changes}


def outside_tensor(path: Path) -> None:
    """An ONNX model whose tensor is to be read from another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[16], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../../../../etc/passwd")
    value = helper.make_tensor_value_info("y", TensorProto.UINT8, [16])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [value], [tensor])
    onnx.save(helper.make_model(graph), path)


ONNX_PROGRAMS: dict[str, Maker] = {
    "outside tensor.onnx": outside_tensor,
    "pickle.onnx": holding(pickle.dumps(Trap())),
    "text.onnx": holding(b"hello"),
}
"""ONNX models that reach elsewhere, or are none."""


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

GROWING = ("lists", "mappings", "merges")
"""Of those, what DVC takes for parameters too."""
