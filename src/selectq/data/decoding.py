"""Decoding image files into uint8 planes."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from selectq.errors import UserError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that Pillow decodes by itself: EPS, for one, would start another program."""


def decode(content: bytes, name: str) -> Image.Image:
    """Decode the bytes of an image file to RGB; `name` is what messages call it.

    Raises:
        UserError: not an image in one of FORMATS, damaged, too many pixels, or more than 8 bits per channel.
    """
    try:
        image = _decode_rgb(content)
    except Image.UnidentifiedImageError:
        raise UserError(f"{name} is not an image; allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # on damaged bytes Pillow's decoders raise almost anything
        raise UserError(f"{name} cannot be decoded: {error}") from None
    if image is None:
        raise UserError(f"{name} has more than 8 bits per channel; convert it to 8 first")
    return image


def resize(image: Image.Image, size: int) -> Image.Image:
    """Bring the shorter side to `size` pixels, antialiased, and cut out the centre square."""
    return image if image.size == (size, size) else ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def planes(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _decode_rgb(content: bytes) -> Image.Image | None:
    """The image as RGB, or None where Pillow would clip deeper channels to 8 bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.mode.startswith(("I", "F")) or ";16" in str(image.tile):
            return None
        # Pillow warns unless a palette's transparency passes through RGBA.
        return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")
