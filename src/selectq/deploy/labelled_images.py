"""Labelled images to evaluate a program on: the pipeline's packed file, or a folder or archive of image files."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from selectq.data.archives import GENEROUS, File, read_archive, read_folder
from selectq.data.decoding import is_meant_as_image
from selectq.data.layout import ELSEWHERE, check_one_top, class_name, find_place
from selectq.data.left_out import LeftOut
from selectq.errors import UserError
from selectq.files import METADATA_KEY
from selectq.programs.images import ToPixels, decoded

T = TypeVar("T")

PACKED_ENDING = ".safetensors"
ONE_POOL = ""
"""The part of images that lie in none."""

LAYOUT = "<class>/<image>, or test/<class>/<image> and perhaps train/<class>/<image>"


@dataclass(frozen=True)
class LabelledImages:
    """One or more test images, which are read as they are asked for.

    `classes` are the names of those that occur, sorted; `read` yields each image's class and pixels, uint8 (3, H, W).
    """

    count: int
    classes: tuple[str, ...]
    read: Callable[[], Iterator[tuple[str, NDArray[np.uint8]]]]


@dataclass(frozen=True)
class Listed:
    """An image file, before it is decoded; `digest` is of its bytes."""

    path: PurePosixPath
    part: str
    label: str
    digest: bytes


def open_images(path: Path, size: int, to_pixels: ToPixels, skip_bad: bool) -> LabelledImages:
    """The test images of a packed data set, or of a folder, zip or tar of image files, as uint8 (3, `size`, `size`).

    What is no image, or lies in no class's folder, is told on standard error.

    Raises:
        UserError: nothing there, no test images, or something else than such a file or folder. Reading raises it for
            an image file that is not as it should be.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.suffix == PACKED_ENDING:
        return _open_packed(path, size)
    label_of = {image.path: image.label for image in list_images(path) if image.part in (ONE_POOL, "test")}
    if not label_of:
        raise UserError(f"{path}: no test images; expected {LAYOUT}")
    read = partial(decode_images, path, label_of, size, to_pixels, skip_bad)
    return LabelledImages(len(label_of), tuple(sorted(set(label_of.values()))), read)


def decode_images(
    path: Path, wanted: Mapping[PurePosixPath, T], size: int, to_pixels: ToPixels, skip_bad: bool
) -> Iterator[tuple[T, NDArray[np.uint8]]]:
    """What each wanted image of a folder, zip or tar stands for, with its pixels, as `decoded` gives them."""
    used = (file for file in _files_of(path, LeftOut(str(path))) if file.path in wanted)
    named = ((wanted[file.path], str(path / file.path), partial(_content_of, file)) for file in used)
    return decoded(named, size, to_pixels, skip_bad)


def _content_of(file: File) -> bytes:
    """What `decoded` asks for, when its turn comes."""
    return file.content


def _files_of(path: Path, left_out: LeftOut) -> Iterator[File]:
    """The files of a folder, zip or tar; `left_out` gets what is not read."""
    if path.is_dir():
        yield from read_folder(path, GENEROUS, left_out)
    else:
        with path.open("rb") as archive:
            yield from read_archive(archive, str(path), GENEROUS, left_out)


def list_images(path: Path) -> list[Listed]:
    """Every image that lies in a class's folder; what does not, or is no image, is told on standard error.

    Raises:
        UserError: there is none, or there are data sets side by side.
    """
    left_out, digests = LeftOut(str(path)), {}
    for file in _files_of(path, left_out):
        if is_meant_as_image(file.path, file.content):
            digests[file.path] = hashlib.sha256(file.content).digest()
        else:
            left_out.add("not images", file.path)
    placed = _places(str(path), list(digests))
    for each in digests.keys() - placed.keys():
        left_out.add(ELSEWHERE, each)
    left_out.tell()
    if not placed:
        raise UserError(f"{path}: no images; expected {LAYOUT}")
    return [Listed(each, *placed[each], digest) for each, digest in digests.items() if each in placed]


def _places(origin: str, paths: list[PurePosixPath]) -> dict[PurePosixPath, tuple[str, str]]:
    """The part and the class of each image that has them."""
    places = {path: place for path in paths if (place := find_place(path, origin))}
    if places:
        check_one_top({place.top for place in places.values()}, origin)
        return {path: (place.part, place.label) for path, place in places.items()}
    return {path: (ONE_POOL, label) for path, label in _labels_without_parts(origin, paths).items()}


def _labels_without_parts(origin: str, paths: list[PurePosixPath]) -> dict[PurePosixPath, str]:
    """The first folder of each path is its class; the second, where all share a first one and none lies in that."""
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    depth = 1 if len(tops) == 1 and all(len(path.parts) != 2 for path in paths) else 0
    return {path: class_name(path.parts[depth], origin) for path in paths if len(path.parts) >= depth + 2}


def _open_packed(path: Path, size: int) -> LabelledImages:
    try:
        with safe_open(path, framework="np") as file:
            classes = json.loads((file.metadata() or {})[METADATA_KEY])["classes"]
            images, labels = file.get_tensor("test.images"), file.get_tensor("test.labels")
        names = [class_name(name, str(path)) for name in classes]
        labels_of_images = [names[label] for label in labels.tolist()]
    except (OSError, SafetensorError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a packed data set ({type(error).__name__}: {error})") from None
    if not len(images):
        raise UserError(f"{path}: no test images")
    if images.shape[1:] != (3, size, size) or images.dtype != np.uint8:
        shape = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"{path}: its images are {shape} {images.dtype}, and the model takes 3 x {size} x {size} uint8")
    return LabelledImages(
        len(images), tuple(sorted(set(labels_of_images))), lambda: iter(zip(labels_of_images, images, strict=True))
    )
