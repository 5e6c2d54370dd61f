"""The numbers and the picture of a confusion matrix."""

import io

import numpy as np
import pytest
from brightest import CLASSES
from PIL import Image

from selectq.cli.confusion_picture import LARGEST, chart, confusion_png
from selectq.confusion import Confusion, count_confusion


def confusion(classes: int, images: int = 40, seed: int = 0) -> Confusion:
    counts = np.random.RandomState(seed).multinomial(images, np.full(classes, 1 / classes), size=classes)
    return Confusion(tuple(f"class {number}" for number in range(classes)), counts)


def test_counts_have_the_true_class_in_the_row() -> None:
    counts = count_confusion(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]


def test_shares_are_of_the_row_and_nan_without_images() -> None:
    found = Confusion(CLASSES, np.array([[3, 1, 0], [0, 0, 0], [1, 0, 4]]))
    assert np.array_equal(found.shares, [[0.75, 0.25, 0], [np.nan] * 3, [0.2, 0, 0.8]], equal_nan=True)
    assert (found.images.tolist(), found.correct.tolist()) == ([4, 0, 5], [3, 0, 4])


def test_same_counts_same_bytes() -> None:
    one, again, other = (confusion_png(confusion(3, seed=seed), "title") for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_every_cell_with_images_is_drawn_and_every_class_named() -> None:
    spec = chart(Confusion(CLASSES, np.array([[3, 1, 0], [0, 0, 0], [1, 0, 4]])), "a title\nof two lines")
    drawn = [(row["true_class"], row["predicted_class"], row["images"], row["share"]) for row in spec["data"]["values"]]
    red, _, blue = CLASSES
    assert drawn == [(red, red, 3, 0.75), (red, CLASSES[1], 1, 0.25), (blue, red, 1, 0.2), (blue, blue, 4, 0.8)]
    assert all(spec["spec"]["encoding"][side]["scale"]["domain"] == list(CLASSES) for side in ("x", "y"))
    assert spec["title"]["text"] == ["a title", "of two lines"]


@pytest.mark.parametrize("classes", [3, 51, 300])
def test_picture_has_a_size_that_can_be_looked_at(classes: int) -> None:
    with Image.open(io.BytesIO(confusion_png(confusion(classes, images=2), "title"))) as drawn:
        assert min(drawn.size) > 150 and max(drawn.size) < 2.5 * LARGEST


@pytest.mark.parametrize(
    "names",
    [
        ("\u732b", "\u72ac", "v\u00f6gel"),
        ("\u0e01", "\U0001f600", "\U0010fffd"),
        ("a" * 300, "b" * 300, "c"),
        ("a\nb", "\udce9", "\x07"),
        ('"', "<DVC_METRIC_DATA>", "a_b</svg>"),
    ],
    ids=["Chinese", "of no font", "long", "control characters", "markup"],
)
def test_any_class_names_can_be_drawn(names: tuple[str, ...]) -> None:
    with Image.open(io.BytesIO(confusion_png(Confusion(names, np.eye(3, dtype=int)), "".join(names)[:60]))) as drawn:
        assert drawn.size[0] > 150
