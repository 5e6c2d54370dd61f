"""Image folders: re-packing changes nothing, and everything that is not right is one line that names it."""

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_ins import CLASSES, Server, encoded, image_files, pack_folder, pack_tar, pack_zip, picture

from selectq.config.configs import Cifar10Config, DataConfig, DigitsConfig, ImageFolderConfig
from selectq.data.decoding import planes
from selectq.data.imagefolder import load_imagefolder
from selectq.data.packed import write_dataset
from selectq.data.sources import load_dataset
from selectq.errors import UserError

Packer = Callable[[Path, Mapping[str, bytes]], Path]


def config(source: str | Path, archive: str | None = None, pixels: str | None = None, size: int = 16) -> DataConfig:
    folder = ImageFolderConfig(str(source), archive, pixels, size, skip_bad=False)
    return DataConfig("imagefolder", 3, 0, Cifar10Config((), ""), folder, DigitsConfig(450))


def skipping(config: DataConfig) -> DataConfig:
    return replace(config, imagefolder=replace(config.imagefolder, skip_bad=True))


def trusted(archive: Path) -> DataConfig:
    return config(archive, sha256(archive))


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
    for source in ("none.zip", "some/none.zip"):
        message = refused(config(source), [here / "data"])
        assert message.startswith(f"data.imagefolder.source: {source} is not in {here / 'data'}, {Path.cwd()}; ")
        assert "SELECTQ_DATA" in message


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
    "no validation": ({"val/bird/0.png": encoded(picture(0))}, "class 'cat' has no images in val/"),
    "text": ({"train/cat/notes.png": b"hello"}, "'train/cat/notes.png' is not an image; allowed: JPEG, PNG, "),
    "cut": ({"train/cat/cut.png": encoded(picture(0))[:300]}, "'train/cat/cut.png' cannot be decoded: "),
    "two tops": ({"top/train/cat/0.png": encoded(picture(0))}, "images in several places (the folder itself, 'top')"),
}


@pytest.mark.parametrize("pack", [pack_zip, pack_tar, pack_folder])
@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_inside_is_named(bad: str, pack: Packer, here: Path) -> None:
    changes, message = BAD[bad]
    files = {**({} if bad == "no images" else image_files()), **changes}
    path = pack(here / "images", {name: content for name, content in files.items() if content is not None})
    assert refused(config(path)).startswith(f"images: {message}")


@pytest.mark.parametrize("pack", [pack_tar, pack_folder])
def test_class_name_that_is_not_utf8_is_refused_in_printable_letters(pack: Packer, here: Path) -> None:
    files = {name.replace("cat", os.fsdecode(b"caf\xe9")): content for name, content in image_files().items()}
    message = "images: the name of the class 'caf\\udce9' is not UTF-8; rename its folder"
    assert refused(config(pack(here / "images", files))) == message


@pytest.mark.parametrize("pack", [pack_zip, pack_tar, pack_folder])
def test_class_written_in_two_unicode_forms_is_one(pack: Packer, here: Path) -> None:
    forms = {"train/": "v\u00f6gel", "test/": "vo\u0308gel"}  # composed and decomposed
    files = {name.replace("cat", forms[name[: name.index("/") + 1]]): data for name, data in image_files().items()}
    path = pack(here / "images", files)
    pixels = refused(config(path)).partition("pixels_sha256: ")[2].split()[0]
    assert load_imagefolder(config(path, None, pixels), []).classes == ("bird", "dog", "v\u00f6gel")


FOREIGN = {"README.md": b"# hi", "train/labels.csv": b"a,b", "train/cat/notes.txt": b"hello", "overview.png": b"x"}


@pytest.mark.parametrize("pack", [pack_zip, pack_tar, pack_folder])
def test_what_is_no_image_of_a_class_is_left_out_and_named(
    pack: Packer, archive: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deeper = {name.replace("/cat/", "/cat/day 1/"): content for name, content in image_files().items()}
    path = pack(here / "other", {**FOREIGN, **deeper})
    found = load_imagefolder(config(path, None, pixels_hash(archive)), [])
    assert (len(found.train), len(found.test)) == (18, 6)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    (foreign,) = (line for line in lines if "(not images)" in line)
    assert foreign.startswith("notice: other: left out 3 ")
    assert all(name in foreign for name in ("README.md", "train/labels.csv", "train/cat/notes.txt"))
    assert "notice: other: left out 1 (in no class's folder): overview.png" in lines


BROKEN = {f"train/cat/bad{number}.png": encoded(picture(0))[:300] for number in range(22)}


def test_images_that_cannot_be_read_are_refused_together(here: Path) -> None:
    message = refused(config(pack_zip(here / "i.zip", {**image_files(), **BROKEN})))
    assert message.startswith("22 images cannot be read: i.zip: ")
    assert "'train/cat/bad19.png'" in message and "bad20" not in message
    assert message.endswith("and 2 more; to leave them out: data.imagefolder.skip_bad: true")


def test_images_that_cannot_be_read_are_skipped_and_named(
    archive: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pack_zip(here / "i.zip", {**image_files(), **BROKEN})
    found = load_imagefolder(skipping(config(path, None, pixels_hash(archive))), [])
    assert len(found.train) == 18
    assert "left out 22 (cannot be read): i.zip: 'train/cat/bad0.png' cannot" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["val", "valid", "validation"])
def test_validation_folder_is_the_validation_split(folder: str, here: Path) -> None:
    own = {f"{folder}/{name}/0.png": encoded(picture(9000 + number)) for number, name in enumerate(CLASSES)}
    chosen = trusted(pack_zip(here / "i.zip", {**image_files(), **own}))
    dataset = load_dataset(replace(chosen, validation_images=None), [])
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (18, 3, 6)
    assert np.array_equal(dataset.validation.images[0], planes(picture(9000)))
    with pytest.raises(
        UserError, match=r"^data\.validation_images: 3, but i has 3 images of its own in val/; write null"
    ):
        load_dataset(chosen, [])


def test_no_validation_folder_and_none_held_out_is_refused(archive: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.validation_images: null, but images has no val/ folder"):
        load_dataset(replace(trusted(archive), validation_images=None), [])


def test_images_in_two_splits_or_classes_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = image_files()
    files["test/dog/again.bmp"] = encoded(picture(2000), "BMP")  # train/dog/0.png
    files["train/bird/cat.png"] = files["train/cat/1.png"]
    load_dataset(trusted(pack_zip(here / "i.zip", files)), [])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert any("two splits: 1, such as" in line and "test/dog/again.bmp" in line for line in lines)
    assert any(
        "train/cat/1.png" in line and "train/bird/cat.png" in line for line in lines if "two classes: 1," in line
    )


def test_images_that_stand_once_give_no_warning(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_dataset(trusted(archive), [])
    assert capsys.readouterr().err == ""


def test_image_stored_rotated_is_the_upright_one(archive: Path, here: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned clockwise
    content = io.BytesIO()
    picture(0).transpose(Image.Transpose.ROTATE_90).save(content, "PNG", exif=exif)
    rotated = pack_zip(here / "rotated.zip", {**image_files(), "train/bird/0.png": content.getvalue()})
    assert pixels_hash(rotated) == pixels_hash(archive)


def test_other_size_gives_other_images(archive: Path) -> None:
    chosen = config(archive, sha256(archive))
    smaller = replace(chosen, imagefolder=replace(chosen.imagefolder, image_size=8))
    assert load_imagefolder(smaller, []).test.images.shape == (6, 3, 8, 8)
