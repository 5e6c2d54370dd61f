"""A confusion matrix as rows: bounded, in the order of the classes, and nothing lost."""

import numpy as np
import pytest

from selectq.confusion import Confusion
from selectq.parity.evidence import CONFUSION_COLUMNS, MOST_CLASSES, OTHER_CLASSES, confusion_metrics


def test_every_cell_of_a_few_classes_is_a_row() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 4]])
    table = confusion_metrics("some", Confusion(("cat", "no images", "b\udcff"), counts))
    assert list(table.columns) == CONFUSION_COLUMNS
    assert table.to_numpy().tolist() == [
        ["some", "cat", "cat", 3, 0.75],
        ["some", "cat", "no images", 1, 0.25],
        ["some", "cat", "b\\udcff", 0, 0.0],
        ["some", "b\\udcff", "cat", 1, 0.2],
        ["some", "b\\udcff", "no images", 0, 0.0],
        ["some", "b\\udcff", "b\\udcff", 4, 0.8],
    ]


def test_of_many_classes_the_worst_are_kept_and_the_rest_is_summed_up() -> None:
    count = 1000
    counts = np.diag(np.full(count, 10))
    wrong = list(range(5, count, 49))[:MOST_CLASSES]
    counts[wrong, np.roll(wrong, 1)] = 3
    counts[wrong, 0] = 2
    names = tuple(f"class {number}" for number in range(count))
    table = confusion_metrics("some", Confusion(names, counts))
    assert list(table["true_class"].unique()) == [names[index] for index in wrong]
    assert len(table) == MOST_CLASSES * (MOST_CLASSES + 1)
    assert table.groupby("true_class")["share"].sum().to_numpy() == pytest.approx(1.0)
    assert (table[table["predicted_class"] == OTHER_CLASSES]["images"] == 2).all()


def test_classes_without_errors_are_kept_in_their_order() -> None:
    names = tuple(f"class {number}" for number in range(MOST_CLASSES + 5))
    table = confusion_metrics("some", Confusion(names, np.eye(len(names), dtype=np.int64)))
    assert list(table["true_class"].unique()) == list(names[:MOST_CLASSES])
