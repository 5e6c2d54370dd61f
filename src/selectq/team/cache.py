"""How DVC's cache is laid out: an object for each file, named by its bytes' MD5, and one that lists each folder."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

OBJECTS = Path("files") / "md5"
DIRECTORY = ".dir"


def object_path(cache: Path, md5: str) -> Path:
    """Where the cache keeps the object with this hash."""
    return cache / OBJECTS / md5[:2] / md5[2:]


def object_md5(path: Path) -> str:
    """The hash that an object's path names."""
    return path.parent.name + path.name.removesuffix(DIRECTORY)


def listed_files(cache: Path, md5: str) -> Iterator[tuple[str, str]]:
    """The files of a folder, and their hashes, as its object in the cache lists them; none if that is damaged."""
    path = object_path(cache, md5)
    if path.is_file() and file_md5(path) == object_md5(path):
        yield from ((entry["relpath"], entry["md5"]) for entry in json.loads(path.read_text(encoding="utf-8")))


def file_md5(path: Path) -> str:
    """The MD5 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
