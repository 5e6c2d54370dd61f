"""Logits and accuracy by hand, whatever the number of batches."""

import pytest
import torch
from small_networks import coloured_noise, trained

from selectq.data.augment import EVALUATION_BATCH
from selectq.data.evaluate import evaluate, predict_logits, top1
from selectq.data.normalization import INTEGER_GRID
from selectq.data.packed import Split


def test_top1_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    assert top1(logits, torch.tensor([1, 0, 0, 1])) == 50.0
    assert top1(logits, torch.tensor([1, 0, 1, 0])) == 100.0


def test_logits_are_the_network_s() -> None:
    model, split = trained().model, coloured_noise(EVALUATION_BATCH + 5, seed=1)
    logits = predict_logits(model, split, "test")
    assert logits.dtype == torch.float32 and not logits.requires_grad
    with torch.no_grad():
        assert torch.allclose(logits, model(INTEGER_GRID(split.images)), rtol=1e-3, atol=1e-3)


def test_evaluate_by_hand() -> None:
    split = Split(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))
    found = evaluate(lambda batch: torch.tensor([[0.0, 3.0]]).expand(len(batch), 2), split, "test")
    wrong, right = torch.tensor([[0.0, 3.0]]).log_softmax(1).neg()[0].tolist()
    assert found == pytest.approx({"loss": (wrong + 3 * right) / 4, "top1": 75.0})
