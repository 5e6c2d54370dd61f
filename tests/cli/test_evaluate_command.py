"""`selectq evaluate`: counts that can be checked by hand, from every kind of data, and every bad one refused."""

import csv
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from brightest import CLASSES, SIZE, Command, deep_picture, encoded, picture, pixels_of, write_model
from PIL import Image
from safetensors.numpy import save_file

from selectq.data.packed import Dataset, Split, write_dataset

SHOWN = {"red": [0, 0, 0, 1], "green": [1, 1], "blue": [2, 2, 0]}
"""The class of each test image, and the channel that is the brightest in it: two of nine are mistaken."""

CONFUSION = [["true class", *CLASSES], ["red", "3", "1", "0"], ["green", "0", "2", "0"], ["blue", "1", "0", "2"]]
SUMMARY = "top-1 77.78 % of 9 images (95 % interval 45.26 to 93.68)"


def image_files(prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}{name}/{number}.png": encoded(picture(channel, number))
        for name, channels in SHOWN.items()
        for number, channel in enumerate(channels)
    }


def as_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


PACKERS = [as_folder, as_zip, as_tar]
Pack = Callable[[Path, Mapping[str, bytes]], Path]


def as_packed(path: Path, classes: tuple[str, ...] = CLASSES, size: int = SIZE) -> Path:
    """The pipeline's own file; labels count in the order of `classes`."""
    import torch  # noqa: PLC0415

    shown = [(name, channel, number) for name, each in SHOWN.items() for number, channel in enumerate(each)]
    pictures = [pixels_of(picture(channel, number, (size, size))) for _, channel, number in shown]
    images, labels = torch.from_numpy(np.stack(pictures)), torch.tensor([classes.index(name) for name, _, _ in shown])
    others = [Split(images[:1] * 0, labels[:1].clone()) for _ in range(2)]
    write_dataset(path, Dataset(*others, Split(images, labels), classes, {"name": "made up"}))
    return path


@pytest.fixture(autouse=True)
def quick_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture takes a second and has tests of its own: it is drawn where files are looked at."""
    if request.function is not test_files_that_are_written:
        monkeypatch.setattr("selectq.cli.confusion_picture.confusion_png", lambda *_: b"a picture")


def read_csv(path: str) -> list[list[str]]:
    return list(csv.reader(Path(path).read_text().splitlines()))


@pytest.mark.parametrize(
    ("pack", "prefix"),
    [
        (as_folder, ""),
        (as_folder, "test/"),
        (as_folder, "mine/"),
        (as_folder, "mine/test/"),
        (as_zip, ""),
        (as_tar, ""),
    ],
)
def test_folder_and_archives_give_the_same_counts(pack: Pack, prefix: str, model: Path, selectq: Command) -> None:
    data = pack(Path("images"), image_files(prefix))
    ended = selectq("evaluate", model, data, "--output", "found")
    assert (ended.status, ended.err) == (0, "")
    assert SUMMARY in ended.out
    assert read_csv("found/confusion.csv") == CONFUSION


def test_packed_file_gives_the_same_counts_whatever_the_order_of_its_classes(model: Path, selectq: Command) -> None:
    data = as_packed(Path("images.safetensors"), ("blue", "red", "green"))
    assert SUMMARY in selectq("evaluate", model, data, "--output", "found").out
    assert read_csv("found/confusion.csv") == CONFUSION


@pytest.mark.parametrize("pack", PACKERS)
def test_training_images_are_left_out(pack: Pack, model: Path, selectq: Command) -> None:
    training = {f"train/{name}/0.png": b"not even read" for name in CLASSES}
    data = pack(Path("images"), {**training, **image_files("test/")})
    assert SUMMARY in selectq("evaluate", model, data).out


def test_printed_text_and_table_by_class(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), image_files())
    assert selectq("evaluate", model, "images").out.splitlines() == [
        "brightest.onnx on the test images of images",
        SUMMARY,
        "",
        "class     top-1    95 % interval  images",
        "red     75.00 %   30.06 to 95.44       4",
        "green  100.00 %  34.24 to 100.00       2",
        "blue    66.67 %   20.77 to 93.85       3",
        "",
        "confusion.csv, per_class.csv and confusion.png are in evaluation/brightest.onnx/",
    ]


def test_files_that_are_written(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), image_files())
    selectq("evaluate", model, "images")
    folder = Path("evaluation/brightest.onnx")
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.csv", "confusion.png", "per_class.csv"]
    assert read_csv("evaluation/brightest.onnx/per_class.csv") == [
        ["class", "images", "correct", "top1", "low", "high"],
        ["red", "4", "3", "75.00", "30.06", "95.44"],
        ["green", "2", "2", "100.00", "34.24", "100.00"],
        ["blue", "3", "2", "66.67", "20.77", "93.85"],
    ]
    with Image.open(folder / "confusion.png") as drawn:
        assert drawn.format == "PNG"


def test_class_without_images_stays_in_the_tables(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), {name: content for name, content in image_files().items() if "green" not in name})
    ended = selectq("evaluate", model, "images", "--output", "found")
    assert ["green", "-", "-", "0"] in [line.split() for line in ended.out.splitlines()]
    assert read_csv("found/per_class.csv")[2] == ["green", "0", "0", "", "", ""]


def test_more_images_than_one_batch_are_all_counted(model: Path, selectq: Command) -> None:
    files = {f"red/{number}.png": encoded(picture(number % 3, number)) for number in range(501)}
    as_folder(Path("images"), files)
    ended = selectq("evaluate", model, "images", "--output", "found")
    assert read_csv("found/confusion.csv")[1] == ["red", "167", "167", "167"]
    assert "3/3" in ended.err


def test_images_of_another_size_need_resize(model: Path, selectq: Command) -> None:
    files = {**image_files(), "red/0.png": encoded(picture(0, size=(32, 24)))}
    as_zip(Path("images.zip"), files)
    assert selectq.refusal("evaluate", model, "images.zip") == (
        "images.zip/red/0.png is 32 x 24 pixels, and the model takes 16 x 16; --resize brings the shorter side to 16"
        " and cuts out the centre"
    )
    assert SUMMARY in selectq("evaluate", model, "images.zip", "--resize").out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "images/red/9.png is not an image; allowed: JPEG, "),
        (encoded(picture(0))[:300], "images/red/9.png cannot be decoded: "),
        (deep_picture(), "images/red/9.png has more than 8 bits per channel"),
    ],
)
def test_bad_image_is_refused_by_name(content: bytes, message: str, model: Path, selectq: Command) -> None:
    as_folder(Path("images"), {**image_files(), "red/9.png": content})
    assert selectq.refusal("evaluate", model, "images").startswith(message)
    assert not list(Path("evaluation").rglob("*.csv"))


def test_unknown_class_is_refused_before_any_work(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), {**image_files(), "pink/0.png": b"not even read"})
    message = "images: class 'pink' is none of the model's 3: red, green, blue"
    assert selectq.refusal("evaluate", model, "images") == message
    assert not Path("evaluation").exists()


def test_unknown_class_of_a_packed_file_is_refused(here: Path, selectq: Command) -> None:
    model = write_model(here / "other.onnx", ("red", "green", "violet"))
    as_packed(Path("images.safetensors"))
    message = "images.safetensors: class 'blue' is none of the model's 3: red, green, violet"
    assert selectq.refusal("evaluate", model, "images.safetensors") == message


def test_message_lists_the_first_of_many_classes(here: Path, selectq: Command) -> None:
    model = write_model(here / "many.onnx", [f"c{number}" for number in range(100)])
    as_folder(Path("images"), image_files())
    message = selectq.refusal("evaluate", model, "images")
    assert message.startswith("images: class 'blue' is none of the model's 100: c0, c1, ")
    assert message.endswith("c11, ...")


def test_packed_file_of_another_size_is_refused(model: Path, selectq: Command) -> None:
    as_packed(Path("images.safetensors"), size=8)
    assert selectq.refusal("evaluate", model, "images.safetensors") == (
        "images.safetensors: its images are 3 x 8 x 8 uint8, and the model takes 3 x 16 x 16 uint8"
    )


@pytest.mark.parametrize("damage", ["text", "truncated", "other"])
def test_what_is_no_packed_file_is_refused(damage: str, model: Path, selectq: Command) -> None:
    path = as_packed(Path("images.safetensors"))
    if damage == "other":
        save_file({"x": np.zeros(1)}, path)
    else:
        path.write_bytes(b"hello" if damage == "text" else path.read_bytes()[:-100])
    assert selectq.refusal("evaluate", model, path).startswith("images.safetensors: not a packed data set (")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/red/0.png": b"", "val/red/0.png": b""}, "images: no test images; expected <class>/<image>, or "),
        ({".hidden": b""}, "images: no images; expected <class>/<image>, or "),
        ({"test/red/0.png": b"", "mine/test/red/0.png": b""}, "images: images in several places "),
        ({os.fsdecode(b"r\xe9d/0.png"): b""}, "images: the name of the class 'r\\udce9d' is not UTF-8"),
    ],
    ids=["training images", "nothing", "two data sets", "not UTF-8"],
)
@pytest.mark.parametrize("pack", [as_folder, as_tar])
def test_other_layouts_are_refused(
    pack: Pack, files: dict[str, bytes], message: str, model: Path, selectq: Command
) -> None:
    assert selectq.refusal("evaluate", model, pack(Path("images"), files)).startswith(message)


def test_folder_without_images_says_what_it_holds(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), {"readme.txt": b"", "0.png": encoded(picture(0))})
    ended = selectq("evaluate", model, "images")
    assert ended.status == 2
    assert "readme.txt" in ended.err and "0.png" in ended.err and "error: images: no images; expected" in ended.err


FOREIGN = {"labels.csv": b"a,b", "red/notes.txt": b"hello", "red/Thumbs.db": b"x", ".DS_Store": b"x"}


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("prefix", ["", "test/"])
def test_what_is_no_image_is_left_out_and_named(pack: Pack, prefix: str, model: Path, selectq: Command) -> None:
    deeper = {name.replace("red/", "red/day 1/"): content for name, content in image_files(prefix).items()}
    ended = selectq("evaluate", model, pack(Path("images"), {**FOREIGN, **deeper}))
    assert SUMMARY in ended.out
    (line,) = ended.err.splitlines()
    assert line.startswith("notice: images: left out 2 (not images): ")
    assert "labels.csv" in line and "red/notes.txt" in line


@pytest.mark.parametrize("pack", PACKERS)
def test_images_that_cannot_be_read_are_skipped_where_asked(pack: Pack, model: Path, selectq: Command) -> None:
    bad = {"red/bad.png": encoded(picture(0))[:300], "blue/deep.png": deep_picture()}
    data = pack(Path("images"), {**bad, **image_files()})
    message = selectq.refusal("evaluate", model, data)
    assert message.startswith("2 images cannot be read: ") and message.endswith("; to leave them out: --skip-bad")
    assert "images/red/bad.png" in message and "images/blue/deep.png" in message
    ended = selectq("evaluate", model, data, "--skip-bad")
    assert SUMMARY in ended.out
    assert ended.err.startswith("notice: left out 2 (cannot be read): images/")


def test_nothing_left_is_refused(model: Path, selectq: Command) -> None:
    as_folder(Path("images"), {"red/bad.png": b"x"})
    ended = selectq("evaluate", model, "images", "--skip-bad")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == "error: images: none of its 1 images can be read"


def test_class_names_are_compared_in_one_unicode_form(here: Path, selectq: Command) -> None:
    composed, decomposed = "gr\u00fcn", "gru\u0308n"
    for in_model, in_folder in ((composed, decomposed), (decomposed, composed)):
        model = write_model(here / "model.onnx", ("red", in_model, "blue"))
        files = {name.replace("green", in_folder): content for name, content in image_files().items()}
        assert SUMMARY in selectq("evaluate", model, as_zip(Path("i.zip"), files)).out


def test_image_stored_rotated_is_evaluated_upright(model: Path, selectq: Command) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    tall = picture(1, size=(SIZE, 2 * SIZE))  # green, and red where it is not cut away
    tall.paste(picture(0, size=(SIZE, SIZE // 2)), (0, 0))
    content = io.BytesIO()
    tall.transpose(Image.Transpose.ROTATE_90).save(content, "PNG", exif=exif)
    as_folder(Path("images"), {"green/0.png": content.getvalue()})
    assert "top-1 100.00 % of 1 images" in selectq("evaluate", model, "images", "--resize").out


def test_missing_data_and_what_is_no_archive_are_refused(model: Path, selectq: Command) -> None:
    Path("a.png").write_bytes(encoded(picture(0)))
    assert selectq.refusal("evaluate", model, "gone") == "gone: no such file or folder"
    assert selectq.refusal("evaluate", model, "a.png").startswith("a.png: damaged, or neither a zip nor a tar")


@pytest.mark.parametrize("output", ["taken", "taken/below"])
def test_output_that_cannot_be_a_folder_is_refused(output: str, model: Path, selectq: Command) -> None:
    as_folder(Path("images"), image_files())
    Path("taken").write_text("a file")
    message = f"--output: {output} is no folder and cannot become one; a file is in its place"
    assert selectq.refusal("evaluate", model, "images", "--output", output) == message
