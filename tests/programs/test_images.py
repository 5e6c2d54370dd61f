"""Image files as pixels: the pipeline's own, or refused by name."""

import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selectq.data.archives import Limits
from selectq.data.decoding import decode, planes, resize
from selectq.data.left_out import BadImageError
from selectq.errors import UserError
from selectq.programs import images
from selectq.programs.images import decoded, exact_pixels, find_files, read_file, resized_pixels


def content(width: int, height: int, form: str = "PNG") -> bytes:
    encoded = io.BytesIO()
    noise = np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(encoded, form)
    return encoded.getvalue()


def test_image_of_the_right_size_keeps_its_pixels() -> None:
    found = exact_pixels(content(8, 8), "it", 8)
    assert (found.shape, found.dtype) == ((3, 8, 8), np.uint8)
    assert np.array_equal(found, planes(decode(content(8, 8), "it")))
    assert np.array_equal(found, resized_pixels(content(8, 8), "it", 8))


@pytest.mark.parametrize(("width", "height"), [(8, 9), (9, 8), (4, 4), (16, 16)])
def test_image_of_another_size_is_refused_or_resized_as_the_pipeline_does(width: int, height: int) -> None:
    it = content(width, height)
    with pytest.raises(UserError, match=rf"^it is {width} x {height} pixels, and the model takes 8 x 8; --resize "):
        exact_pixels(it, "it", 8)
    assert np.array_equal(resized_pixels(it, "it", 8), planes(resize(decode(it, "it"), 8)))


@pytest.mark.parametrize("to_pixels", [exact_pixels, resized_pixels])
def test_what_cannot_be_decoded_is_refused(to_pixels: images.ToPixels) -> None:
    with pytest.raises(UserError, match=r"^it is not an image"):
        to_pixels(b"hello", "it", 8)


def test_files_come_in_the_order_asked_for_and_folders_sorted(tmp_path: Path) -> None:
    for name in ("b/2", "b/1/x", "b/.hidden", "a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content(8, 8))
    found = find_files([tmp_path / "b", tmp_path / "a", tmp_path / "a"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b/1/x", "b/2", "a", "a"]


def test_what_is_no_image_in_a_folder_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name, each in (("notes.txt", b"hello"), ("Thumbs.db", b"x"), ("a", content(8, 8)), ("broken.png", b"")):
        (tmp_path / name).write_bytes(each)
    assert find_files([tmp_path]) == [tmp_path / "a", tmp_path / "broken.png"]
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"notice: {tmp_path}: left out 1 (a link, a device or sparse): link",
        f"notice: {tmp_path}: left out 1 (not images): notes.txt",
    ]


def test_images_that_cannot_be_read_are_refused_together_or_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    contents = {"a": content(8, 8), "b": b"hello", "c": content(8, 8), "d": content(8, 8)[:200]}
    images = [(number, name, partial(contents.__getitem__, name)) for number, name in enumerate(contents, start=1)]
    assert [key for key, _ in decoded(images, 8, exact_pixels, skip_bad=True)] == [1, 3]
    line = capsys.readouterr().err
    assert line.startswith("notice: left out 2 (cannot be read): b is not an image") and "; d cannot be" in line
    with pytest.raises(UserError, match=r"^2 images cannot be read: b .*; d .*; to leave them out: --skip-bad$"):
        list(decoded(images, 8, exact_pixels, skip_bad=False))


def test_image_of_another_size_is_not_skipped() -> None:
    with pytest.raises(UserError, match="--resize"):
        list(decoded([(1, "a", lambda: content(9, 9))], 8, exact_pixels, skip_bad=True))


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(BadImageError, match=r"a is no plain file$"):
        read_file(tmp_path / "a")


def test_file_too_large_for_an_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "GENEROUS", Limits(file_bytes=10, total_bytes=100, files=10))
    (tmp_path / "a").write_bytes(bytes(10))
    assert read_file(tmp_path / "a") == bytes(10)
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(UserError, match=r"a is larger than 10 bytes$"):
        read_file(tmp_path / "a")
