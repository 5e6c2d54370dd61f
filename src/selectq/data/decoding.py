"""Decoding image files into uint8 planes."""

import io
import re
import warnings
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from selectq.data.jpeg import find_damage
from selectq.data.left_out import BadImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that Pillow decodes by itself: EPS, for one, would start another program."""


ENDINGS = re.compile(
    r"\.(jpe?g?|jfif|png|bmp|dib|gif|webp|tiff?|p[bgpn]m|hei[cf]|avif|jp2|j2k|jxl|tga|psd|dng|cr[23]|nef|arw)",
    re.IGNORECASE,
)
"""Of files that are meant as images, those in other formats than FORMATS too: these are refused, not passed over."""

JPEG_MAGIC = b"\xff\xd8"


def is_meant_as_image(path: PurePath, content: bytes) -> bool:
    """Whether a file is an image by the ending of its name, or else by its content."""
    if ENDINGS.fullmatch(path.suffix):
        return True
    try:
        Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        return False
    except Exception:  # a damaged one, then
        return True
    return True


def decode(content: bytes, name: str) -> Image.Image:
    """Decode the bytes of an image file to RGB, upright as its EXIF says; `name` is what messages call it.

    Raises:
        BadImageError: not an image in one of FORMATS, damaged, too many pixels, or more than 8 bits per channel.
    """
    try:
        image = _decode_rgb(content)
    except Image.UnidentifiedImageError:
        raise BadImageError(f"{name} is not an image; allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # on damaged bytes Pillow's decoders raise almost anything
        raise BadImageError(f"{name} cannot be decoded: {error}") from None
    if image is None:
        raise BadImageError(f"{name} has more than 8 bits per channel; convert it to 8 first")
    damage = find_damage(content) if content.startswith(JPEG_MAGIC) else None
    if damage:
        raise BadImageError(f"{name} is damaged: {damage}")
    return image


def resize(image: Image.Image, size: int) -> Image.Image:
    """Bring the shorter side to `size` pixels, antialiased, and cut out the centre square."""
    return image if image.size == (size, size) else ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def planes(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _decode_rgb(content: bytes) -> Image.Image | None:
    """The image as RGB, or None where Pillow would clip deeper channels to 8 bits."""
    with warnings.catch_warnings(action="ignore"):  # of metadata that nothing here reads
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.mode.startswith(("I", "F")) or ";16" in str(image.tile):
            return None
        ImageOps.exif_transpose(image, in_place=True)
        # Pillow warns unless a palette's transparency passes through RGBA.
        return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")
