"""Image files as the pixels that a program takes, decoded as the pipeline decodes users' images.

Greyscale, palette, CMYK and transparent images become RGB there, by Pillow's conversion, rotated ones upright, and more
than 8 bits per channel are refused; so a file gets the same prediction here as in a run of the pipeline.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from selectq.data.archives import GENEROUS, read_folder
from selectq.data.decoding import decode, is_meant_as_image, planes, resize
from selectq.data.left_out import BadImageError, BadImages, LeftOut
from selectq.errors import UserError

ToPixels = Callable[[bytes, str, int], NDArray[np.uint8]]
"""An image file's bytes, what messages call it, and the program's image size -> uint8 (3, size, size)."""

SKIP_BAD = "--skip-bad"

T = TypeVar("T")


def exact_pixels(content: bytes, name: str, size: int) -> NDArray[np.uint8]:
    """An image that has the program's size, as uint8 (3, size, size).

    Raises:
        BadImageError: it cannot be decoded.
        UserError: it has another size.
    """
    image = decode(content, name)
    if image.size != (size, size):
        raise UserError(
            f"{name} is {image.width} x {image.height} pixels, and the model takes {size} x {size}; --resize brings"
            f" the shorter side to {size} and cuts out the centre"
        )
    return planes(image)


def resized_pixels(content: bytes, name: str, size: int) -> NDArray[np.uint8]:
    """An image of any size, its shorter side brought to `size` and the centre cut out, as uint8 (3, size, size).

    Raises:
        BadImageError: it cannot be decoded.
    """
    return planes(resize(decode(content, name), size))


def to_pixels(resize: bool) -> ToPixels:
    """How images become pixels: of any size, or of the program's alone."""
    return resized_pixels if resize else exact_pixels


def decoded(
    images: Iterable[tuple[T, str, Callable[[], bytes]]], size: int, to_pixels: ToPixels, skip_bad: bool
) -> Iterator[tuple[T, NDArray[np.uint8]]]:
    """What each image stands for, with its pixels; given as that, what messages call it, and what reads its file.

    Raises:
        UserError: at the end, if images cannot be read and are not to be skipped; none is yielded after the first.
    """
    bad = BadImages(skip_bad, SKIP_BAD)
    for key, name, read in images:
        try:
            pixels = to_pixels(read(), name, size)
        except BadImageError as error:
            bad.add(error)
        else:
            if not bad.refused:
                yield key, pixels
    bad.check()


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files of `paths`, each folder replaced by the images below it in the order of their names.

    What is in a folder and no image is told on standard error.

    Raises:
        UserError: a path does not exist, or there is no image at all.
    """
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(_images_below(path))
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    if not found:
        raise UserError(f"{paths[0]}: the folder holds no images")
    return found


def _images_below(folder: Path) -> list[Path]:
    found, left_out = [], LeftOut(str(folder))
    for file in read_folder(folder, GENEROUS, left_out):
        if is_meant_as_image(file.path, file.content):
            found.append(folder / file.path)
        else:
            left_out.add("not images", file.path)
    left_out.tell()
    return found


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        BadImageError: it is no plain file, or larger than any image that the pipeline takes.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise BadImageError(f"{path} is no plain file")
    with path.open("rb") as file:
        content = file.read(GENEROUS.file_bytes + 1)
    if len(content) > GENEROUS.file_bytes:
        raise BadImageError(f"{path} is larger than {GENEROUS.file_bytes} bytes")
    return content
