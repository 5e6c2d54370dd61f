"""Which images are right, by files of logits, and which files are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from selectq.errors import UserError
from selectq.files import write_tensors
from selectq.statistics.predictions import Predictions, read_predictions

LABELS = np.array([0, 1, 2])
LOGITS = torch.tensor([[3.0, 0, 0], [0, 0, 3], [0, 0, 3]])
"""Right, wrong, right."""


def write(path: Path, logits: torch.Tensor, **network: str | int) -> None:
    write_tensors(path, {"logits": logits}, {**network, "split": "test"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "fp32.safetensors", LOGITS, config="fp32")
    write(tmp_path / "dw.safetensors", LOGITS.flip(0), config="dw")
    write(tmp_path / "repeats/dw-1.safetensors", LOGITS, config="dw", seed=1)
    return tmp_path


def read(folder: Path) -> Predictions:
    return read_predictions(folder, ["dw"], [("dw", 1)], LABELS)


def test_right_is_the_class_of_the_largest_logit(folder: Path) -> None:
    predictions = read(folder)
    assert {name: right.tolist() for name, right in predictions.own.items()} == {
        "fp32": [True, False, True],
        "dw": [False, False, False],
    }
    assert predictions.repeated["dw"][1].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "repeats/dw-1.safetensors").unlink(),
            "dw-1.safetensors: not a readable selectq file",
        ),
        (
            lambda folder: write(folder / "repeats/dw-1.safetensors", LOGITS, config="dw", seed=2),
            "dw-1.safetensors: holds {'config': 'dw', 'seed': 2, 'split': 'test'}; expected",
        ),
        (
            lambda folder: write(folder / "dw.safetensors", LOGITS[1:], config="dw"),
            "dw.safetensors: holds {'config': 'dw'",
        ),
        (lambda folder: save_file({"logits": LOGITS}, folder / "dw.safetensors"), "not a readable selectq file"),
    ],
    ids=["missing", "another seed", "other images", "foreign"],
)
def test_file_that_is_not_the_expected_one(spoil: Callable[[Path], object], message: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(UserError) as refused:
        read(folder)
    assert message in str(refused.value)
