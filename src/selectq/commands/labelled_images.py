"""Labelled images to evaluate a program on: the pipeline's packed file, or a folder or archive of image files."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from selectq.data.archives import GENEROUS, File, read_archive, read_folder
from selectq.errors import UserError
from selectq.files import METADATA_KEY
from selectq.programs.images import ToPixels

PACKED_ENDING = ".safetensors"
PARTS = ("train", "test")
LAYOUT = "<class>/<image>, or test/<class>/<image> and perhaps train/<class>/<image>"


@dataclass(frozen=True)
class LabelledImages:
    """Test images, which are read as they are asked for.

    Attributes:
        count: of the images, at least 1.
        classes: the names of the classes that occur, sorted.
        read: yields each image's class name and its pixels, uint8 (3, H, W).
    """

    count: int
    classes: tuple[str, ...]
    read: Callable[[], Iterator[tuple[str, NDArray[np.uint8]]]]


def open_images(path: Path, size: int, to_pixels: ToPixels) -> LabelledImages:
    """The test images of a packed data set, or of a folder, zip or tar of image files.

    Args:
        path: of the file or folder.
        size: height and width of the program's images in pixels.
        to_pixels: how an image file becomes pixels.

    Raises:
        UserError: nothing there, no test images, or something else than such a file or folder. Reading raises it for
            an image file that is not as it should be.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.suffix == PACKED_ENDING:
        return _open_packed(path, size)
    paths = [file.path for file in _files(path)]
    if not paths:
        raise UserError(f"{path}: no images; expected {LAYOUT}")
    label_of = _test_labels(path, paths)
    if not label_of:
        raise UserError(f"{path}: no test images; all that it holds is in train/")

    def read() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for file in _files(path):
            if file.path in label_of:
                yield label_of[file.path], to_pixels(file.content, str(path / file.path), size)

    return LabelledImages(len(label_of), tuple(sorted(set(label_of.values()))), read)


def _files(path: Path) -> Iterator[File]:
    if path.is_dir():
        yield from read_folder(path, GENEROUS)
    else:
        with path.open("rb") as archive:
            yield from read_archive(archive, str(path), GENEROUS)


def _test_labels(origin: Path, paths: list[PurePosixPath]) -> dict[PurePosixPath, str]:
    """The class of each test image; all images are laid out alike, below one top folder or none."""
    layouts = {path: _layout(origin, path) for path in paths}
    first, like = next(iter(layouts.items()))
    for path, (top, part, _) in layouts.items():
        if top != like[0] or (part is None) != (like[1] is None):
            raise UserError(f"{origin}: {str(path)!r} is laid out unlike {str(first)!r}; expected {LAYOUT}")
    return {path: label for path, (_, part, label) in layouts.items() if part != "train"}


def _layout(origin: Path, path: PurePosixPath) -> tuple[str | None, str | None, str]:
    """The top folder, the part (one of `PARTS`) and the class in a path; None for what it does not have."""
    match path.parts:
        case (label, _):
            return None, None, label
        case (part, label, _) if part in PARTS:
            return None, part, label
        case (top, label, _):
            return top, None, label
        case (top, part, label, _) if part in PARTS:
            return top, part, label
    raise UserError(f"{origin}: {str(path)!r} has no place here; expected {LAYOUT}")


def _open_packed(path: Path, size: int) -> LabelledImages:
    try:
        with safe_open(path, framework="np") as file:
            names = json.loads((file.metadata() or {})[METADATA_KEY])["classes"]
            images, labels = file.get_tensor("test.images"), file.get_tensor("test.labels")
        labels_of_images = [names[label] for label in labels.tolist()]
    except (OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a packed data set ({type(error).__name__}: {error})") from None
    if not len(images):
        raise UserError(f"{path}: no test images")
    if images.shape[1:] != (3, size, size) or images.dtype != np.uint8:
        shape = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"{path}: its images are {shape} {images.dtype}, and the model takes 3 x {size} x {size} uint8")
    return LabelledImages(
        len(images), tuple(sorted(set(labels_of_images))), lambda: iter(zip(labels_of_images, images, strict=True))
    )
