"""Decoding: every kind of picture becomes 8-bit RGB of the wanted size, everything else is refused by name."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_ins import encoded, picture

from selectq.data.decoding import FORMATS, decode, is_meant_as_image, planes, resize
from selectq.data.left_out import BadImageError

ORIENTATION = 0x112


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_the_pixels(form: str) -> None:
    assert np.array_equal(decode(encoded(picture(0), form), "it"), picture(0))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_decode(form: str) -> None:
    image = decode(encoded(picture(0), form), "it")
    assert (image.mode, image.size) == ("RGB", (16, 16))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_other_modes_become_rgb(mode: str) -> None:
    original = picture(0).convert("L").convert("LA" if mode == "LA" else "RGB").convert(mode)
    assert np.array_equal(decode(encoded(original), "it"), original.convert("RGB"))


def test_palette_with_transparency_keeps_its_colours() -> None:
    original = picture(0).convert("P")
    original.info["transparency"] = bytes(range(256))
    assert np.array_equal(decode(encoded(original), "it"), original.convert("RGBA").convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_image_stored_rotated_is_decoded_upright(form: str, orientation: int) -> None:
    stored = Image.new("RGB", (16, 8))
    stored.paste((250, 10, 10), (0, 0, 16, 4))  # EXIF says where its first row and column belong
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = io.BytesIO()
    stored.save(content, form, exif=exif)
    found = np.asarray(decode(content.getvalue(), "it"))[:, :, 0] > 128
    upper_half = np.indices((8, 16))[0] < 4
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    assert np.array_equal(found, np.rot90(upper_half, turns))


def test_damaged_metadata_is_no_reason_to_refuse_an_image() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = io.BytesIO()
    picture(0).save(content, "JPEG", exif=exif)
    damaged = content.getvalue().replace(b"Exif\0\0MM", b"Exif\0\0XX")
    assert damaged != content.getvalue()
    assert decode(damaged, "it").size == (16, 16)


@pytest.mark.parametrize(
    ("name", "content", "meant"),
    [
        ("a.PNG", b"", True),
        ("a.heic", b"x", True),
        ("a", encoded(picture(0)), True),
        ("a.bin", encoded(picture(0), "JPEG"), True),
        ("notes.txt", b"hello", False),
        ("labels.csv", b"", False),
        ("a.pdf", b"%PDF-1.7", False),
    ],
)
def test_files_meant_as_images(name: str, content: bytes, meant: bool) -> None:
    assert is_meant_as_image(Path(name), content) == meant


def test_deep_channels_are_refused() -> None:
    deep = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    with pytest.raises(BadImageError, match=r"^it has more than 8 bits per channel"):
        decode(encoded(deep), "it")


def png_of_16_bits(codes: np.ndarray) -> bytes:
    """An RGB image (H, W, 3) of 16 bits per channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = codes.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in codes)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_deep_colours_are_refused() -> None:
    """Pillow would drop their lower bytes without a word."""
    with pytest.raises(BadImageError, match=r"^it has more than 8 bits per channel"):
        decode(png_of_16_bits(np.full((4, 5, 3), 40_000, np.uint16)), "it")


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(BadImageError) as refusal:
        decode(content, "images.zip: 'train/cat/1.png'")
    assert str(refusal.value) == f"images.zip: 'train/cat/1.png' is not an image; allowed: {', '.join(FORMATS)}"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_truncated_image_is_refused(form: str) -> None:
    content = encoded(picture(0, 64), form)
    with pytest.raises(BadImageError, match=r"^it cannot be decoded: ."):
        decode(content[: len(content) // 2], "it")


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(BadImageError, match=r"^it cannot be decoded: Image size \(256 pixels\) exceeds"):
        decode(encoded(picture(0)), "it")


def test_resize_cuts_the_centre_of_the_longer_side() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert np.array_equal(resize(Image.fromarray(wide), 10), np.full((10, 10, 3), 200))


def test_resize_is_antialiased() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = np.asarray(resize(Image.fromarray(checkers).convert("RGB"), 8))
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_resize_leaves_the_right_size_alone() -> None:
    image = picture(0)
    assert resize(image, 16) is image


def test_planes_puts_channels_first() -> None:
    assert np.array_equal(planes(picture(0)), np.moveaxis(np.asarray(picture(0)), 2, 0))


def test_jpeg_with_zeros_in_its_middle_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "JPEG")
    whole = content.getvalue()
    half = len(whole) // 2
    assert decode(whole, "it").size == (64, 64)
    with pytest.raises(BadImageError, match=r"^it is damaged: "):
        decode(whole[:half] + bytes(200) + whole[half + 200 :], "it")
