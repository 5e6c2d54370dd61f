"""Image folders: re-packing changes nothing, and everything that is not right is one line that names it."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_ins import CLASSES, Server, encoded, image_files, pack_folder, pack_tar, pack_zip, picture

from selectq.data.imagefolder import load_imagefolder
from selectq.data.packed import write_dataset
from selectq.data.sources import load_dataset
from selectq.errors import UserError
from selectq.params.configs import Cifar10Config, DataConfig, DigitsConfig, ImageFolderConfig

Packer = Callable[[Path, Mapping[str, bytes]], Path]


def config(source: str | Path, archive: str | None = None, pixels: str | None = None, size: int = 16) -> DataConfig:
    folder = ImageFolderConfig(str(source), archive, pixels, size)
    return DataConfig("imagefolder", 3, 0, Cifar10Config((), ""), folder, DigitsConfig(450))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels_hash(archive: Path, size: int = 16) -> str:
    return load_imagefolder(config(archive, sha256(archive), None, size), []).origin["pixels_sha256"]


def packed(folder: Path, config: DataConfig) -> bytes:
    write_dataset(folder / "packed", load_dataset(config, []))
    return (folder / "packed").read_bytes()


def refused(config: DataConfig, folders: list[Path] | None = None) -> str:
    with pytest.raises(UserError) as refusal:
        load_imagefolder(config, folders or [])
    return str(refusal.value)


def new_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
def archive(here: Path) -> Path:
    return pack_zip(here / "images.zip", image_files())


def renamed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Other file names in another order, below one top folder, among hidden files."""
    new = {f"top/{name.rpartition('/')[0]}/x{number}": files[name] for number, name in enumerate(reversed(files))}
    return {"top/.DS_Store": b"x", **new}


REPACKED: dict[str, tuple[str, Packer, Mapping[str, bytes]]] = {
    "tar.xz": ("images.tar.xz", lambda path, files: pack_tar(path, files, "w:xz"), image_files()),
    "tar.gz": ("images.tar.gz", lambda path, files: pack_tar(path, files, "w:gz"), image_files()),
    "folder": ("images", pack_folder, image_files()),
    "other names": ("images.tar", pack_tar, renamed(image_files())),
    "other format": ("images.zip", pack_zip, image_files("TIFF")),
}


@pytest.mark.parametrize("repacked", REPACKED)
def test_repacking_changes_no_byte(repacked: str, archive: Path, here: Path) -> None:
    pixels = pixels_hash(archive)
    name, pack, files = REPACKED[repacked]
    other = pack(new_folder(here / "other") / name, files)
    assert packed(here, config(other, None, pixels)) == packed(here, config(archive, None, pixels))


def test_hash_of_pixels_sees_one_pixel_class_and_part(archive: Path, here: Path) -> None:
    files = image_files()
    one, two = "train/bird/0.png", "train/cat/0.png"
    changed = np.array(picture(0))
    changed[3, 3, 1] ^= 1
    variants = [
        files,
        {**files, one: encoded(Image.fromarray(changed))},
        {**files, one: files[two], two: files[one]},
        {**files, one: files["test/bird/0.png"], "test/bird/0.png": files[one]},
        {**files, one: encoded(picture(0).transpose(Image.Transpose.ROTATE_90))},
    ]
    hashes = {pixels_hash(pack_zip(here / "variant.zip", variant)) for variant in variants}
    assert len(hashes) == len(variants)


def test_hash_of_pixels_does_not_depend_on_the_size_wanted(archive: Path) -> None:
    assert pixels_hash(archive, 16) == pixels_hash(archive, 8)


def test_images_labels_and_classes(archive: Path) -> None:
    source = load_imagefolder(config(archive, sha256(archive)), [])
    assert source.classes == CLASSES
    assert np.bincount(source.train.labels).tolist() == [6, 6, 6]
    assert np.bincount(source.test.labels).tolist() == [2, 2, 2]
    assert np.array_equal(source.train.images[0], np.moveaxis(np.asarray(picture(0)), 2, 0))
    assert source.origin["source"] == "images"


def test_images_of_other_sizes_are_resized(here: Path) -> None:
    files = {**image_files(), "train/cat/wide.png": encoded(Image.new("RGB", (40, 20), (10, 20, 30)))}
    archive = pack_zip(here / "images.zip", files)
    source = load_imagefolder(config(archive, sha256(archive), size=8), [])
    assert source.train.images.shape == (19, 3, 8, 8)
    wide = source.train.images[np.ptp(source.train.images, axis=(2, 3)).sum(1) == 0]
    assert np.array_equal(wide, np.broadcast_to([[[[10]], [[20]], [[30]]]], (1, 3, 8, 8)))


@pytest.mark.parametrize("given", [(), ("archive",), ("pixels",), ("archive", "pixels")])
def test_hash_is_needed_and_told(given: tuple[str, ...], archive: Path) -> None:
    hashes = {"archive": sha256(archive), "pixels": pixels_hash(archive)}
    chosen = config(archive, **{name: hashes[name] for name in given})
    if given:
        assert len(load_imagefolder(chosen, []).train) == 18
    else:
        assert refused(chosen) == (
            "data.imagefolder: no hash to hold images.zip to; if you trust it, set "
            f"pixels_sha256: {hashes['pixels']} or archive_sha256: {hashes['archive']}"
        )


def test_folder_needs_the_hash_of_its_pixels(archive: Path, here: Path) -> None:
    folder = pack_folder(here / "images", image_files())
    pixels = pixels_hash(archive)
    expected = f"data.imagefolder: no hash to hold images to; if you trust it, set pixels_sha256: {pixels}"
    assert refused(config(folder)) == expected
    assert refused(config(folder, sha256(archive))) == expected


@pytest.mark.parametrize("wrong", ["archive", "pixels"])
def test_wrong_hash_is_refused(wrong: str, archive: Path) -> None:
    hashes = {"archive": sha256(archive), "pixels": pixels_hash(archive)}
    what = {"archive": "its sha256", "pixels": "the sha256 of its pixels"}[wrong]
    message = refused(config(archive, **{**hashes, wrong: "0" * 64}))
    assert message == f"images.zip: {what} is {hashes[wrong]}, not {'0' * 64}"


def test_wrong_archive_is_not_even_opened(here: Path) -> None:
    (here / "images.zip").write_bytes(b"not a zip at all")
    assert "its sha256 is" in refused(config("images.zip", "0" * 64))


def test_capital_hex_digits_are_digits(archive: Path) -> None:
    chosen = config(archive, sha256(archive).upper(), pixels_hash(archive).upper())
    assert len(load_imagefolder(chosen, []).train) == 18


def test_bare_name_is_looked_up_in_the_folders_first(archive: Path, here: Path) -> None:
    elsewhere = new_folder(here / "elsewhere")
    archive.rename(elsewhere / "images.zip")
    (here / "images.zip").write_bytes(b"other")
    chosen = config("images.zip", sha256(elsewhere / "images.zip"))
    assert len(load_imagefolder(chosen, [new_folder(here / "empty"), elsewhere]).train) == 18
    assert "its sha256 is" in refused(chosen)


def test_source_that_is_not_there(here: Path) -> None:
    message = refused(config("none.zip"), [here])
    assert message == f"data.imagefolder.source: none.zip is not in any of: {here}, ."
    message = refused(config("some/none.zip"), [here])
    assert message == f"data.imagefolder.source: some/none.zip is not in any of: {here}, ."


def test_address_is_downloaded(archive: Path, server: Server) -> None:
    server.files["/images.zip?v=1"] = archive.read_bytes()
    source = load_imagefolder(config(f"{server.url}/images.zip?v=1", sha256(archive)), [])
    assert (len(source.train), source.origin["source"]) == (18, "images")


def test_folders_come_before_the_address(archive: Path, here: Path, server: Server) -> None:
    assert len(load_imagefolder(config(f"{server.url}/images.zip", sha256(archive)), [here]).train) == 18
    assert server.asked == []


@pytest.mark.parametrize("end", ["", "/", "/..", "/%2e%2e", "/..%2fx"])
def test_address_without_a_file_name(end: str, server: Server) -> None:
    message = refused(config(server.url.replace("127.0.0.1", "h/a") + end if end else "http://"))
    assert message.endswith("does not end in the name of a file")


BAD = {
    "no images": ({"train/.hidden": b""}, "no images; expected train/<class>/<image> and test/<class>/<image>"),
    "no test": ({"test/bird/0.png": None, "test/bird/1.png": None}, "class 'bird' has no images in test/"),
    "no train": ({"test/emu/0.png": encoded(picture(0))}, "class 'emu' has no images in train/"),
    "text": ({"train/cat/notes.txt": b"hello"}, "'train/cat/notes.txt' is not an image; allowed: JPEG, PNG, "),
    "cut": ({"train/cat/cut.png": encoded(picture(0))[:300]}, "'train/cat/cut.png' cannot be decoded: "),
    "other part": ({"val/cat/0.png": encoded(picture(0))}, "'val/cat/0.png' is neither train/<class>/<image> nor "),
    "too shallow": ({"train/0.png": encoded(picture(0))}, "'train/0.png' is neither train/<class>/<image> nor "),
    "too deep": ({"train/cat/a/b/0.png": b""}, "'train/cat/a/b/0.png' is neither train/<class>/<image> nor "),
    "two tops": ({"top/train/cat/0.png": encoded(picture(0))}, "'top/train/cat/0.png' is neither train/<class>"),
}


@pytest.mark.parametrize("pack", [pack_zip, pack_tar, pack_folder])
@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_inside_is_named(bad: str, pack: Packer, here: Path) -> None:
    changes, message = BAD[bad]
    files = {**({} if bad == "no images" else image_files()), **changes}
    path = pack(here / "images", {name: content for name, content in files.items() if content is not None})
    assert refused(config(path)).startswith(f"images: {message}")


def test_class_names_that_are_not_utf8(here: Path) -> None:
    files = image_files()
    odd = os.fsdecode(b"caf\xe9")
    folder = pack_folder(here / "images", {name.replace("cat", odd): content for name, content in files.items()})
    assert "set pixels_sha256: " in refused(config(folder))


def test_other_size_gives_other_images(archive: Path) -> None:
    chosen = config(archive, sha256(archive))
    smaller = replace(chosen, imagefolder=replace(chosen.imagefolder, image_size=8))
    assert load_imagefolder(smaller, []).test.images.shape == (6, 3, 8, 8)
