"""`selectq quantize`: a trained network to a program, what it lost told, and every mistake refused in one line."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from brightest import SIZE, Command, Ended, deep_picture, encoded, picture, pixels_of
from trained_tiny import LABELS, build, normalised, pictures, state_dict, write_all, write_images

from selectq.data.packed import Dataset, Split, write_dataset
from selectq.deploy.lots import open_lots
from selectq.programs.program import open_program

NETWORK = ("--network", "tiny.py:tiny")
pytestmark = pytest.mark.usefixtures("algorithms_put_back", "quick")


@pytest.fixture
def tiny(here: Path) -> Path:
    write_all(here)
    return here


def quantize(selectq: Command, *options: object, images: str = "images") -> Ended:
    return selectq("quantize", "tiny.pth", images, *NETWORK, "--size", SIZE, *options)


def refusal(selectq: Command, *options: object, images: str = "images") -> str:
    """The one line of a mistake; lines about the weights' wrapping and progress may stand before it."""
    ended = quantize(selectq, *options, images=images)
    assert ended.status == 2 and "candidates" not in ended.out
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: ")
    return last.removeprefix("error: ")


def test_from_a_folder_of_images_to_program_and_card(tiny: Path, selectq: Command) -> None:
    ended = quantize(selectq)
    assert ended.status == 0, ended.err
    assert all(len(line) <= 80 for line in ended.out.splitlines())
    assert hashlib.sha256((tiny / "tiny.pth").read_bytes()).hexdigest() in ended.out
    assert "tiny.pth: `module.` is taken off every name" in ended.out
    assert "12 to calibrate, 9 to choose, 39 to report on" in ended.out
    assert "0 blue, 1 green, 2 red: folders in alphabetical order" in ended.out
    assert "both accuracies are too high" in " ".join(ended.out.split())
    assert "differ between simulation and program: 0 of 39" in ended.out
    assert ended.out.splitlines()[-2:] == ["card:  tiny.int8.onnx.md", "model: tiny.int8.onnx"]


def test_accuracies_are_those_of_network_and_program_on_the_evaluation_images(tiny: Path, selectq: Command) -> None:
    ended = quantize(selectq)
    test = open_lots(Path("images"), SIZE, 0, skip_bad=False).read().test
    model = build()
    model.load_state_dict(state_dict())
    with torch.no_grad():
        fp32 = model.eval()(normalised(test.images.float())).argmax(1) == test.labels
    logits = open_program(Path("tiny.int8.onnx")).logits(test.images.numpy())
    int8 = logits.argmax(1) == test.labels.numpy()
    shown = re.search(r"^top-1 of 39 images +([\d.]+) % +([\d.]+) %$", ended.out, re.MULTILINE)
    assert shown and shown.groups() == (f"{100 * fp32.double().mean():.2f}", f"{100 * int8.mean():.2f}")
    assert fp32.double().mean() > 0.9, "it has learnt, or the figures say nothing"


def test_card_says_what_is_needed_to_run_the_program(tiny: Path, selectq: Command) -> None:
    quantize(selectq, "--out", "made/some.onnx")
    card, file = (tiny / "made/some.onnx.md").read_text(), tiny / "made/some.onnx"
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert "`0=blue, 1=green, 2=red`" in card and "uint8, (batch, 3, 16, 16)" in card
    assert "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225" in " ".join(card.split())
    assert "ONNX Runtime 1.18 or newer" in card and "In floating point: none" in card
    image = picture(2, 5, (20, 28))
    (tiny / "made/image.png").write_bytes(encoded(image))
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    ended = subprocess.run([sys.executable, "-c", lines], cwd=tiny / "made", capture_output=True, text=True, check=True)
    assert ended.stdout == "[0]\n"
    assert selectq("predict", file, tiny / "made/image.png", "--resize").out.split()[1] == "blue"


def test_other_formats_by_the_ending(tiny: Path, selectq: Command, capsys: pytest.CaptureFixture[str]) -> None:
    ended = quantize(selectq, "--out", "tiny.pt2")
    assert ended.status == 0, ended.err
    assert "differ between simulation and program: 0 of 39" in ended.out
    assert "all arithmetic, between integers" in ended.out
    assert re.search(r"^in +ONNX Runtime +PyTorch$", ended.out, re.MULTILINE)
    (tiny / "image.png").write_bytes(encoded(picture(2, 5)))
    (lines,) = re.findall(r"```python\n(.*?)```", (tiny / "tiny.pt2.md").read_text(), re.DOTALL)
    exec(lines, {})
    assert capsys.readouterr().out == "[0]\n"


def test_program_takes_what_was_asked_for(tiny: Path, selectq: Command) -> None:
    ended = quantize(selectq, "--input", "float32", "--layout", "nhwc")
    assert "differ between simulation and program: 0 of 39" in ended.out
    assert quantize(selectq, "--out", "usual.onnx").status == 0
    asked, usual = (open_program(Path(f"{name}.onnx")) for name in ("tiny.int8", "usual"))
    images = np.stack([pixels_of(picture(channel, 5)) for channel in range(3)])
    assert np.array_equal(asked.logits(images), usual.logits(images)) and len(set(usual.logits(images).argmax(1))) == 3
    card = " ".join(Path("tiny.int8.onnx.md").read_text().split())
    assert "float32, (batch, 16, 16, 3), NHWC, RGB, (pixel / 255 - mean) / std" in card
    assert "fed: pixels, float32 (batch, 16, 16, 3)" in selectq("bench", "tiny.int8.onnx", "--seconds", 0.01).out
    inspected = " ".join(selectq("inspect", "tiny.int8.onnx").out.split())
    assert "pixels: float32 (batch, 16, 16, 3), NHWC, RGB" in inspected and "mean 0.485, 0.456, 0.406" in inspected
    evaluated = [selectq("evaluate", f"{name}.onnx", "images").out.splitlines()[1] for name in ("tiny.int8", "usual")]
    assert evaluated[0] == evaluated[1] and evaluated[0].startswith("top-1 ")


def test_same_run_gives_the_same_program(tiny: Path, selectq: Command) -> None:
    quantize(selectq)
    first = (tiny / "tiny.int8.onnx").read_bytes()
    quantize(selectq)
    assert (tiny / "tiny.int8.onnx").read_bytes() == first


def test_relu6_may_go_and_may_stay(tiny: Path, selectq: Command) -> None:
    assert "ReLU for ReLU6 costs the FP32 network" in quantize(selectq).out
    assert "ReLU for ReLU6" not in quantize(selectq, "--keep-relu6").out


def test_network_without_relu6_is_not_asked_about_it(here: Path, selectq: Command) -> None:
    write_all(here, relu6=False)
    ended = quantize(selectq, "--arguments", "relu6=false")
    assert ended.status == 0 and "ReLU6" not in ended.out


def test_normalization_changes_the_network(tiny: Path, selectq: Command) -> None:
    usual, other = quantize(selectq), quantize(selectq, "--mean", "0,0,0", "--std", "1,1,1")
    assert other.status == 0 and "mean 0, 0, 0, std 1, 1, 1" in other.out
    assert "differ between simulation and program: 0 of 39" in other.out
    figures = [re.findall(r"^FP32 .*|^min-max .*", ended.out, re.MULTILINE) for ended in (usual, other)]
    assert figures[0] != figures[1]


def test_packed_file_brings_its_size_and_lots(tiny: Path, selectq: Command) -> None:
    write_dataset(tiny / "images.safetensors", packed())
    ended = selectq("quantize", "tiny.pth", "images.safetensors", *NETWORK)
    assert ended.status == 0, ended.err
    assert "16 x 16 pixels" in ended.out and "12 to calibrate, 6 to choose, 9 to report on" in ended.out
    assert "note:" not in ended.out
    message = refusal(selectq, "--size", 32, images="images.safetensors")
    assert message == "--size: 32, but the images of images.safetensors are packed with 16 pixels"


def packed() -> Dataset:
    def split(first: int, count: int) -> Split:
        shown = [(channel, number) for channel in (2, 1, 0) for number in range(first, first + count)]
        images = np.stack([pixels_of(picture(channel, number)) for channel, number in shown])
        return Split(torch.from_numpy(images), torch.tensor([2 - channel for channel, _ in shown]))

    return Dataset(split(0, 4), split(4, 2), split(6, 3), LABELS, {"name": "made up", "source": "noise"})


def test_half_precision_weights_are_read(tiny: Path, selectq: Command) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state_dict().items()}
    torch.save(half, "tiny.pth")
    assert quantize(selectq).status == 0


REFUSALS = {
    ("--size", "0"): "--size: 0 is out of range; allowed: 1 to 1024",
    ("--out", "some.tflite"): "--out: some.tflite has no ending that tells the format; allowed: .onnx, .pt2, .pte",
    ("--out", "folder.onnx"): "--out: folder.onnx cannot be written: it is a folder, or inside of a file",
    ("--out", "tiny.pth/some.onnx"): "--out: tiny.pth/some.onnx cannot be written: it is a folder, or inside of a file",
    ("--std", "0,1,1"): "--std[0]: 0.0 is out of range; allowed: 0.001 to 10",
    ("--mean", "0,0,99"): "--mean[2]: 99.0 is out of range; allowed: -10 to 10",
    ("--network", "resnet8"): "--network: torchvision has no 'resnet8'; closest: resnet",
    ("--network", "res net"): "--network: 'res net' names no network",
    ("--network", "tiny.py:other"): "--network: tiny.py has no function other",
    ("--network", "none.py:tiny"): "none.py cannot be had",
    ("--network", "tiny.py:tanh"): "WEIGHTS: tiny.pth is not a tiny.py:tanh: ",
    ("--network", "resnet18"): "WEIGHTS: tiny.pth is not a resnet18: ",
    ("--arguments", "depth=3"): "--network: ",
}


@pytest.mark.parametrize("options", REFUSALS, ids=" ".join)
def test_option_that_does_not_suit_is_refused(options: tuple[str, str], tiny: Path, selectq: Command) -> None:
    (tiny / "folder.onnx").mkdir()
    assert refusal(selectq, *options).startswith(REFUSALS[options])


UNREADABLE = [("--mean", "1,2"), ("--std", "a,b,c"), ("--arguments", "half"), ("--arguments", "1=2")]


@pytest.mark.parametrize("option", UNREADABLE, ids=" ".join)
def test_option_that_cannot_be_read_is_refused(option: tuple[str, str], tiny: Path, selectq: Command) -> None:
    ended = quantize(selectq, *option)
    assert ended.status == 2 and repr(option[1]) in ended.err.splitlines()[-1]


def test_missing_files_are_named(tiny: Path, selectq: Command) -> None:
    assert refusal(selectq, images="elsewhere") == "elsewhere: no such file or folder"
    assert selectq.refusal("quantize", "no.pth", "images", *NETWORK) == "no.pth: no such file"


def test_wrong_number_of_classes_is_one_line(tiny: Path, selectq: Command) -> None:
    shutil.rmtree("images/red")
    assert refusal(selectq) == (
        "WEIGHTS: tiny.pth tells 3 classes apart, the images have 2; allowed: images of its own classes, one folder for"
        " each"
    )


def test_weights_that_are_no_state_dict_are_refused(tiny: Path, selectq: Command) -> None:
    torch.save(build(), "tiny.pth")
    message = refusal(selectq)
    assert message.startswith("WEIGHTS: tiny.pth is not a readable checkpoint: it needs the code of ")


def test_network_that_cannot_be_quantized_is_refused_before_images_are_read(tiny: Path, selectq: Command) -> None:
    (tiny / "images/red/0.png").write_bytes(b"damaged")
    made: dict[str, object] = {}
    exec((tiny / "tiny.py").read_text(), made)
    torch.save(made["tanh"](3).state_dict(), "tiny.pth")  # type: ignore[operator]
    message = refusal(selectq, "--network", "tiny.py:tanh")
    assert message == "--network: 1 (Tanh): which is no operation that selectq knows"


def test_hard_swish_is_refused_for_xnnpack_at_once(here: Path, selectq: Command) -> None:
    write_all(here, hard_swish=True)
    message = refusal(selectq, "--arguments", "hard_swish=true", "--out", "tiny.pte")
    assert message == "--out: pte: 2 (hard_swish): XNNPACK has none on integers. Leave pte out"


def test_image_that_cannot_be_read_is_refused_or_left_out(tiny: Path, selectq: Command) -> None:
    (tiny / "images/red/0.png").write_bytes(deep_picture())
    assert refusal(selectq) == (
        "images/red/0.png has more than 8 bits per channel; convert it to 8 first; to leave it out: --skip-bad"
    )
    ended = quantize(selectq, "--skip-bad")
    assert ended.status == 0 and "left out 1 (cannot be read)" in ended.err


def test_too_few_images_are_refused(tiny: Path, selectq: Command) -> None:
    for number in range(2, 20):
        (tiny / f"images/red/{number}.png").unlink()
    assert refusal(selectq) == "images: class 'red' has 2 different images for 3 uses; allowed: 3 or more"
    write_images(tiny / "none", {"readme.txt": b"no image"})
    assert refusal(selectq, images="none").startswith("none: no images; expected <class>/<image>, or ")


def test_what_lies_in_two_parts_is_told(tiny: Path, selectq: Command) -> None:
    both = {f"{part}/{name}": content for part in ("train", "test") for name, content in pictures(4, 30).items()}
    write_images(tiny / "more", both)
    ended = quantize(selectq, images="more")
    assert ended.status == 0 and "images with the same pixels in two splits: 12" in ended.err
    assert "the choice is made on images of train/" in " ".join(ended.out.split())
