"""Image files as the pixels that a program takes, decoded as the pipeline decodes users' images.

Greyscale, palette, CMYK and transparent images become RGB there, by Pillow's conversion, and more than 8 bits per
channel are refused; so a file gets the same prediction here as in a run of the pipeline.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selectq.data.archives import GENEROUS, read_folder
from selectq.data.decoding import decode, planes, resize
from selectq.errors import UserError

ToPixels = Callable[[bytes, str, int], NDArray[np.uint8]]
"""An image file's bytes, what messages call it, and the program's image size -> uint8 (3, size, size)."""


def exact_pixels(content: bytes, name: str, size: int) -> NDArray[np.uint8]:
    """An image that has the program's size, as uint8 (3, size, size).

    Raises:
        UserError: it cannot be decoded, or has another size.
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
        UserError: it cannot be decoded.
    """
    return planes(resize(decode(content, name), size))


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files of `paths`, each folder replaced by the files below it in the order of their names.

    Raises:
        UserError: a path does not exist, or a folder holds no file, or a link or a device.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path / file.path for file in read_folder(path, GENEROUS))
            if not inside:
                raise UserError(f"{path}: the folder holds no images")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        UserError: it is larger than any image that the pipeline takes.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(GENEROUS.file_bytes + 1)
    if len(content) > GENEROUS.file_bytes:
        raise UserError(f"{path} is larger than {GENEROUS.file_bytes} bytes")
    return content
