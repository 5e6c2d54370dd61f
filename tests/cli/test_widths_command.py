"""`selectq widths`: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest
from brightest import Command
from small_networks import coloured_dataset, trained

from selectq.data.packed import write_dataset
from selectq.networks.checkpoint import write_fp32


@pytest.fixture
def files(here: Path) -> tuple[Path, Path]:
    """A checkpoint and a packed data set."""
    write_fp32(here / "fp32.safetensors", trained())
    write_dataset(here / "images.safetensors", coloured_dataset(validation=24, test=24))
    return Path("fp32.safetensors"), Path("images.safetensors")


FEW = ("--steps", 2, "--calibration", 16)


def test_prints_a_line_for_each_step_and_writes_every_choice(files: tuple[Path, Path], selectq: Command) -> None:
    ended = selectq("widths", *files, *FEW, "--random", 3, "--narrow", 2, "--out", "kept/curve.csv")
    assert ended.status == 0, ended.err
    table = pd.read_csv("kept/curve.csv")
    assert table.choice.tolist() == ["chosen", "chosen", "random1", "random2", "random3", "chosen"]
    assert {width for bits in table.bits for width in json.loads(bits).values()} == {8, 2}
    title, header, *lines, last = ended.out.splitlines()
    assert title == "fp32.safetensors: 24 validation and 24 test images" and last.endswith("kept/curve.csv")
    assert header.split()[:3] == ["MB", "predicted", "loss"]
    assert [float(line.split()[0]) for line in lines] == table[table.choice == "chosen"].size_mb.round(3).tolist()
    drawn = table[table.step == 1][1:]
    best = drawn.loc[drawn.validation_loss.idxmin()]
    beside = [best.validation_top1, best.test_top1, drawn.test_top1.mean()]
    assert [float(word) for word in lines[1].split()[5:]] == pytest.approx(beside, abs=0.006)
    assert [len(line.split()) for line in lines] == [5, 8, 5]


def test_algorithms_act_before_quantization(files: tuple[Path, Path], selectq: Command) -> None:
    assert selectq("widths", *files, *FEW).status == 0
    plain = pd.read_csv("widths.csv")
    assert selectq("widths", *files, *FEW, "--algorithms", "equalize").status == 0
    assert (plain.validation_loss != pd.read_csv("widths.csv").validation_loss).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--algorithms", "correct_bias"],
            "--algorithms: 'correct_bias' depends on the widths; allowed: those on FP32 networks",
        ),
        (["--algorithms", "nonsense"], "algorithms: 'nonsense'"),
        (["--estimator", "median"], "estimator: 'median' is not allowed; allowed: minmax"),
        (["--calibration", "49"], "49 images are asked for; this split holds 48"),
        (["--out", "fp32.safetensors/x.csv"], "--out: fp32.safetensors/x.csv cannot be written"),
    ],
)
def test_refuses(files: tuple[Path, Path], selectq: Command, options: list[str], message: str) -> None:
    assert selectq.refusal("widths", *files, *options).startswith(message)
    assert not Path("widths.csv").exists()


@pytest.mark.parametrize("option", ["--wide 9", "--wide 4", "--narrow 1", "--narrow 5", "--activations 9"])
def test_widths_out_of_range(files: tuple[Path, Path], selectq: Command, option: str) -> None:
    ended = selectq("widths", *files, *option.split())
    assert ended.status == 2 and f"argument {option.split(maxsplit=1)[0]}: invalid choice: " in ended.err
