"""From right and wrong predictions to the verdict."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from selectq.deploy.card import float_parts
from selectq.deploy.outcome import Accuracy, accuracy_text
from selectq.programs.program import find


def accuracy(images: int, lost: int, won: int = 0, wrong: int = 0) -> Accuracy:
    fp32 = np.ones(images, bool)
    fp32[lost : lost + won + wrong] = False
    int8 = np.ones(images, bool)
    int8[:lost] = int8[lost + won : lost + won + wrong] = False
    return Accuracy(fp32, int8)


def test_gap_is_int8_less_fp32() -> None:
    gap = accuracy(1000, lost=30, won=10, wrong=100).gap
    assert gap.points == pytest.approx(-2.0)
    assert gap.low < -2.0 < gap.high < 0


def test_enough_images_and_no_loss() -> None:
    assert accuracy(5000, lost=3, won=3).verdict_text() == "no retraining needed"


def test_loss_that_is_shown() -> None:
    found = accuracy(2000, lost=60, won=5)
    assert found.gap.high < -0.5
    assert found.verdict_text().startswith("a loss of more than 0.5 points is shown: retrain (--retrain; docs/")


def test_retrained_network_is_not_told_to_be_retrained() -> None:
    lost, kept = accuracy(2000, lost=60, won=5), accuracy(5000, lost=3, won=3)
    verdicts = [dataclasses.replace(each, retrained=True).verdict_text() for each in (lost, kept)]
    assert verdicts == ["a loss of more than 0.5 points is shown", "it keeps up with FP32"]


def test_another_margin_is_another_verdict() -> None:
    lost = accuracy(2000, lost=60, won=5)
    assert dataclasses.replace(lost, margin=5.0).verdict_text() == "no retraining needed"
    assert "and 3 are asked for" in dataclasses.replace(lost, margin=3.0).verdict_text()


def test_too_few_images_to_tell() -> None:
    found = accuracy(400, lost=1, won=1)
    text, reach = found.verdict_text(), (found.gap.high - found.gap.low) / 2
    assert text.startswith(f"not shown either way: 400 images leave ±{reach:.2f} points open")
    assert text.endswith("more images would tell")


def test_accuracy_and_its_interval() -> None:
    assert accuracy_text(accuracy(200, lost=20).int8) == ("90.00 %", "85.06 to 93.43")


def test_format_that_says_nothing_of_its_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find("pte"), "in_float", "")
    assert float_parts(Path("m.pte")) == "ExecuTorch does not tell"
