"""Damage in a JPEG that Pillow decodes without a word."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from selectq.data.decoding import decode
from selectq.data.jpeg import find_damage
from selectq.data.left_out import BadImageError

SOUND: dict[str, dict[str, Any]] = {
    "plain": {"quality": 75},
    "best": {"quality": 100},
    "full colour": {"subsampling": 0},
    "own tables": {"optimize": True, "quality": 90},
    "restarts": {"restart_marker_blocks": 4},
    "progressive": {"progressive": True},
    "comment": {"comment": bytes(100)},
}


def photograph(size: tuple[int, int] = (96, 64)) -> Image.Image:
    noise = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **options)
    return content.getvalue()


def overwritten(content: bytes, by: bytes) -> bytes:
    start = content.index(b"\xff\xda") + (len(content) - content.index(b"\xff\xda")) // 2
    return content[:start] + by + content[start + len(by) :]


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sound_files_have_no_damage(kind: str, flat: bool, mode: str) -> None:
    image = Image.new("RGB", (320, 200), (10, 250, 30)) if flat else photograph()
    assert find_damage(jpeg(image.convert(mode), **SOUND[kind])) is None


@pytest.mark.parametrize("kind", ["plain", "best", "full colour", "own tables", "restarts", "comment"])
def test_zeroed_bytes_are_found(kind: str) -> None:
    content = overwritten(jpeg(photograph(), **SOUND[kind]), bytes(24))
    with Image.open(io.BytesIO(content)) as silently:
        silently.load()
    with pytest.raises(BadImageError, match=r"^it is damaged: .* zero bytes"):
        decode(content, "it")


@pytest.mark.parametrize("kind", SOUND)
def test_marker_in_the_middle_of_the_data_is_found(kind: str) -> None:
    content = overwritten(jpeg(photograph(), **SOUND[kind]), b"\xff\x42")
    assert "0x42" in str(find_damage(content))


def test_headers_that_end_early_are_left_to_the_decoder() -> None:
    content = jpeg(photograph())
    for length in range(2, content.index(b"\xff\xda") + 20):
        find_damage(content[:length])
