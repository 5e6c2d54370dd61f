"""`selectq quantize --retrain`: the ladder from the command line, what it writes, and every mistake in one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from brightest import Command, Ended, picture, pixels_of
from trained_tiny import LABELS, write_all

from selectq.config.load import PARAMS_FILE, read_yaml, validate
from selectq.data.packed import Dataset, Split, write_dataset
from selectq.deploy import ladder
from selectq.programs.program import open_program

BUDGETS = ("--budgets", "15", "100", "45")
EASY, HARD = ("--max-loss", "9"), ("--bits", "W2A2", "--max-loss", "9", "--epochs", "1")
CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("algorithms_put_back", "quick")


def split(first: int, count: int) -> Split:
    shown = [(channel, number) for channel in (2, 1, 0) for number in range(first, first + count)]
    images = np.stack([pixels_of(picture(channel, number)) for channel, number in shown])
    for image, (channel, _) in zip(images, shown, strict=True):
        image[channel] -= 65  # hardly brighter than the others: few codes do not tell
    return Split(torch.from_numpy(images), torch.tensor([2 - channel for channel, _ in shown]))


@pytest.fixture
def tiny(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_all(here)
    parts = split(0, 16), split(100, 20), split(200, 5)
    write_dataset(here / "images.safetensors", Dataset(*parts, LABELS, {"name": "made up", "source": "noise"}))
    monkeypatch.setattr(ladder, "LEARNED_ROUNDING", {})  # has tests of its own, and takes seconds
    return here


def retrain(selectq: Command, *options: str) -> Ended:
    return selectq("quantize", "tiny.pth", "images.safetensors", "--network", "tiny.py:tiny", "--retrain", *options)


def test_eight_bits_retrain_nothing(tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, *EASY, *BUDGETS)
    assert ended.status == 0, ended.err
    assert "48 to calibrate or retrain, 60 to choose, 15 to report on" in ended.out
    assert "stopped:  the goal is met by: min-max; nothing is retrained" in ended.out
    assert re.search(r"^min-max +0\.00 .*\n\nstopped:", ended.out, re.MULTILINE), "the first rung is the last"
    assert all(len(line) <= 80 for line in ended.out.splitlines())
    written = ["plan:  tiny.int8.onnx.plan.json", "plan:  tiny.int8.onnx.plan.md"]
    assert ended.out.splitlines()[-4:] == [*written, "card:  tiny.int8.onnx.md", "model: tiny.int8.onnx"]
    plan = json.loads((tiny / "tiny.int8.onnx.plan.json").read_text())
    assert plan["met"] and {each["choice"] for each in plan["layers"]} == {"frozen"}
    assert "W8A8 without training: min-max" in (tiny / "tiny.int8.onnx.md").read_text()


def test_goal_that_nothing_reaches_ends_with_the_best_and_a_status_of_its_own(tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, *HARD, *BUDGETS)
    assert ended.status == 3, ended.out + ended.err
    assert "nothing that was tried meets the goal; the best" in ended.out
    plan = json.loads((tiny / "tiny.int8.onnx.plan.json").read_text())
    assert not plan["met"] and len(plan["rungs"]) == 7
    best = max(plan["rungs"], key=lambda rung: rung["gap_points"])
    assert plan["chosen"]["name"] == best["name"]
    page = (tiny / "tiny.int8.onnx.plan.md").read_text()
    assert "nothing that was tried meets the goal" in " ".join(page.lower().split())
    assert all(each["layer"] in page for each in plan["layers"])
    printed = selectq("plan", "--file", "tiny.int8.onnx.plan.json")
    assert (printed.status, printed.out) == (3, page)
    assert open_program(Path("tiny.int8.onnx")).manifest.weights["bits"] == 2


def test_printed_configuration_is_one_of_the_pipeline(tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, *HARD, *BUDGETS)
    printed = ended.out.partition("for params.yaml, and its name under `convert`:\n\n")[2].partition("\n\n")[0]
    entries = yaml.safe_load(printed)
    assert entries == json.loads((tiny / "tiny.int8.onnx.plan.json").read_text())["configuration"]
    document = read_yaml(CHECKOUT / PARAMS_FILE)
    merged = {name: {**document[name], **section} for name, section in entries.items()}
    validate({**document, **merged, "convert": [*document["convert"], "planned"]}, "here")


def test_widths_are_chosen_without_retraining_too(tiny: Path, selectq: Command) -> None:
    ended = selectq("quantize", "tiny.pth", "images.safetensors", "--network", "tiny.py:tiny", "--bits", "W4A6")
    assert ended.status == 0 and "least squared error" in ended.out
    manifest = open_program(Path("tiny.int8.onnx")).manifest
    assert (manifest.weights["bits"], manifest.activations["bits"]) == (4, 6)
    assert "W4A6 without training" in (tiny / "tiny.int8.onnx.md").read_text()


def test_fewer_images_are_used_where_fewer_are_asked_for(tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, "--max-loss", "20", *BUDGETS, "--train-images", "33", "--validation-images", "30")
    assert ended.status == 0 and "33 to calibrate or retrain, 30 to choose, 15 to report on" in ended.out


REFUSED = {
    (): "--budgets: 2 % of the parameters holds no layer; smallest possible: 9.6 (11)",
    BUDGETS: "--max-loss: 0.5 points cannot be shown on 60 validation images; 765 would do if no prediction changes",
    (*EASY, *BUDGETS, "--train-images", "20"): "--retrain: 20 training images are too few; allowed: 32 or more",
    ("--max-loss", "0"): "--max-loss: 0.0 is out of range; allowed: 0.01 to 100",
    ("--max-loss", "nan"): "--max-loss: nan is out of range; allowed: 0.01 to 100",
    ("--budgets", "5", "101"): "--budgets[1]: 101.0 is out of range; allowed: 0.01 to 100",
}


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_cannot_be_asked_for_is_one_line(options: tuple[str, ...], tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, *options)
    assert ended.status == 2 and "tried" not in ended.out
    assert ended.err.splitlines()[-1] == f"error: {REFUSED[options]}"
    assert not list(tiny.glob("tiny.int8*"))


@pytest.mark.parametrize("option", ["--max-loss", "--budgets", "--epochs", "--train-images", "--validation-images"])
def test_options_of_retraining_go_with_it_alone(option: str, tiny: Path, selectq: Command) -> None:
    message = selectq.refusal("quantize", "tiny.pth", "images", "--network", "tiny.py:tiny", option, 1)
    assert message == f"{option}: goes with --retrain alone; add that"


UNREADABLE = [
    ("--bits", "W1A8"),
    ("--bits", "8"),
    ("--max-loss", "little"),
    ("--budgets", "few"),
]


@pytest.mark.parametrize("option", UNREADABLE, ids=" ".join)
def test_options_that_cannot_be_read_are_refused(option: tuple[str, str], tiny: Path, selectq: Command) -> None:
    ended = retrain(selectq, *option)
    assert ended.status == 2 and repr(option[1]) in ended.err.splitlines()[-1]
