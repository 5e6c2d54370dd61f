"""`selectq predict`: the pipeline's own pixels, each image's class on a line, and every bad image refused in one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from brightest import CLASSES, SIZE, Command, deep_picture, encoded, picture, pixels_of
from PIL import Image

from selectq.cli.predict import probabilities
from selectq.data.decoding import decode, planes, resize

SOURCE = str(Path(__file__).resolve().parents[2] / "src")


def logits_of(image: Image.Image) -> np.ndarray:
    """What the brightest program answers for an image of any size."""
    return (planes(resize(image, SIZE)).astype(float) - 128).mean(axis=(1, 2)) / 64


def shares_of(image: Image.Image) -> np.ndarray:
    exponentials = np.exp(logits_of(image))
    return exponentials / exponentials.sum()


def put(name: str, content: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_each_image_has_a_line_with_path_class_and_probability(model: Path, selectq: Command) -> None:
    put("a.png", encoded(picture(2)))
    put("longer name.png", encoded(picture(1)))
    ended = selectq("predict", model, "longer name.png", "a.png")
    green, blue = shares_of(picture(1))[1], shares_of(picture(2))[2]
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"longer name.png  green  {green:.4f}\na.png            blue   {blue:.4f}\n"


def test_top_names_the_most_probable_classes_in_order(model: Path, selectq: Command) -> None:
    image = picture(2)
    put("a.png", encoded(image))
    words = selectq("predict", model, "a.png", "--top", 3).out.split()
    assert words[1::2] == [CLASSES[index] for index in np.argsort(-logits_of(image))]
    assert [float(share) for share in words[2::2]] == pytest.approx(sorted(shares_of(image))[::-1], abs=6e-5)


@pytest.mark.parametrize("top", [0, -1, 4])
def test_top_beyond_the_classes_is_refused(top: int, model: Path, selectq: Command) -> None:
    put("a.png", encoded(picture(0)))
    message = f"--top: {top} is out of range; allowed: 1 to 3, the model's classes"
    assert selectq.refusal("predict", model, "a.png", f"--top={top}") == message


def test_json_is_one_object_for_each_image(model: Path, selectq: Command) -> None:
    put("a.png", encoded(picture(0)))
    put("b\n.png", encoded(picture(1)))
    ended = selectq("predict", model, "a.png", "b\n.png", "--json", "--top", 2)
    first, second = map(json.loads, ended.out.splitlines())
    assert (first["path"], first["class"], second["path"], second["class"]) == ("a.png", "red", "b\n.png", "green")
    assert first["probability"] == pytest.approx(shares_of(picture(0))[0], rel=1e-6)
    assert [entry["class"] for entry in first["top"]] == [CLASSES[i] for i in np.argsort(-logits_of(picture(0)))[:2]]
    assert first["top"][0]["probability"] == first["probability"]


def test_folder_stands_for_its_files_in_the_order_of_their_names(model: Path, selectq: Command) -> None:
    for name in ("pics/b.png", "pics/a/z.png", "pics/c.png", "pics/.hidden.png", "pics/.git/x"):
        put(name, encoded(picture(0)))
    put("z.png", encoded(picture(1)))
    ended = selectq("predict", model, "z.png", "pics")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["z.png", "pics/a/z.png", "pics/b.png", "pics/c.png"]


def test_more_images_than_one_batch_keep_their_order_and_show_progress(model: Path, selectq: Command) -> None:
    for number in range(501):
        put(f"pics/{number:03}.png", encoded(picture(number % 3, number)))
    ended = selectq("predict", model, "pics")
    assert [line.split()[1] for line in ended.out.splitlines()] == [CLASSES[number % 3] for number in range(501)]
    assert "3/3" in ended.err


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK", "1"])
def test_other_modes_are_predicted_as_the_pipeline_decodes_them(mode: str, model: Path, selectq: Command) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    original = picture(2).convert("L").convert(mode) if mode == "LA" else picture(2).convert(mode)
    if mode == "RGBA":
        original.putalpha(90)
    content = encoded(original, form)
    put("a", content)
    found = json.loads(selectq("predict", model, "a", "--top=3", "--json").out)
    expected = shares_of(decode(content, "a"))
    by_name = {entry["class"]: entry["probability"] for entry in found["top"]}
    assert [by_name[name] for name in CLASSES] == pytest.approx(expected.tolist(), rel=1e-5)


def test_image_of_another_size_is_refused_with_the_way_out(model: Path, selectq: Command) -> None:
    put("wide.png", encoded(picture(0, size=(40, 20))))
    assert selectq.refusal("predict", model, "wide.png") == (
        "wide.png is 40 x 20 pixels, and the model takes 16 x 16; --resize brings the shorter side to 16 and cuts out"
        " the centre"
    )


def test_resize_gives_the_pixels_that_the_pipeline_gives(model: Path, selectq: Command) -> None:
    wide = np.array(picture(0, size=(60, 20)))
    wide[:, 20:40] = np.array(picture(2, size=(20, 20)))
    image = Image.fromarray(wide)
    put("wide.png", encoded(image))
    found = json.loads(selectq("predict", model, "wide.png", "--resize", "--json").out)
    assert found["class"] == "blue", "the centre"
    assert found["probability"] == pytest.approx(shares_of(image)[2], rel=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "pics/bad.png is not an image; allowed: JPEG, "),
        (b"", "pics/bad.png is not an image; allowed: JPEG, "),
        (encoded(picture(0))[:300], "pics/bad.png cannot be decoded: "),
        (encoded(picture(0), "JPEG")[:500], "pics/bad.png cannot be decoded: "),
        (deep_picture(), "pics/bad.png has more than 8 bits per channel; convert it to 8 first"),
    ],
    ids=["text", "empty", "truncated PNG", "truncated JPEG", "16 bits"],
)
@pytest.mark.parametrize("named", ["pics", "pics/bad.png"])
def test_bad_image_is_refused_by_name(named: str, content: bytes, message: str, model: Path, selectq: Command) -> None:
    put("pics/a.png", encoded(picture(0)))
    put("pics/bad.png", content)
    for options in ([], ["--resize"], ["--json"]):
        assert selectq.refusal("predict", model, named, *options).startswith(message)


def test_unreadable_and_foreign_files_do_not_stop_the_others(model: Path, selectq: Command) -> None:
    put("pics/a.png", encoded(picture(0)))
    for name, content in {"deep.png": deep_picture(), "notes.txt": b"hello", "Thumbs.db": b"x"}.items():
        put(f"pics/{name}", content)
    Path("pics/link.png").symlink_to("a.png")
    ended = selectq("predict", model, "pics", "--skip-bad")
    assert (ended.status, len(ended.out.splitlines())) == (0, 1)
    assert ended.out.startswith("pics/a.png  red  ")
    notices = ended.err.splitlines()
    assert all(line.startswith("notice: ") for line in notices)
    assert ["notes.txt" in ended.err, "link.png" in ended.err, "pics/deep.png" in ended.err] == [True] * 3
    assert "Thumbs.db" not in ended.err


def test_nothing_left_is_refused(model: Path, selectq: Command) -> None:
    put("a.png", b"hello")
    ended = selectq("predict", model, "a.png", "--skip-bad")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == "error: a.png: no image is left to predict"


def test_missing_file_and_empty_folder_are_refused(model: Path, selectq: Command) -> None:
    Path("empty").mkdir()
    put("a.png", encoded(picture(0)))
    assert selectq.refusal("predict", model, "a.png", "gone.png") == "gone.png: no such file or folder"
    assert selectq.refusal("predict", model, "empty") == "empty: the folder holds no images"
    assert selectq("predict", model, "empty", "a.png").out.startswith("a.png  red  ")


def test_no_image_named_is_a_usage_error(model: Path, selectq: Command) -> None:
    ended = selectq("predict", model)
    assert ended.status == 2
    assert "IMAGE" in ended.err


def test_name_with_a_line_break_or_odd_bytes_stays_on_its_line(model: Path, selectq: Command) -> None:
    odd = os.fsdecode(b"a\nb\xff.png")
    put(odd, encoded(picture(0)))
    assert selectq("predict", model, odd).out.startswith("a\\nb\\udcff.png  red  ")


def test_probabilities_are_a_softmax_even_of_large_logits() -> None:
    logits = np.array([[1e4, 1e4, 0], [math.log(2), 0, 0]], np.float32)
    assert np.allclose(probabilities(logits), [[0.5, 0.5, 0], [0.5, 0.25, 0.25]])


def test_reader_that_goes_away_ends_the_command_quietly(model: Path) -> None:
    put("a.png", encoded(picture(0)))
    script = "import sys; from selectq.cli.main import main; main()"
    names = ["a.png"] * 5000
    command = [sys.executable, "-c", script, "predict", str(model), *names]
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_pictures_of_these_tests_are_told_apart() -> None:
    assert [int(pixels_of(picture(channel)).mean(axis=(1, 2)).argmax()) for channel in range(3)] == [0, 1, 2]
