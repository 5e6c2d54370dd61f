"""The numbers and the picture of a confusion matrix."""

import numpy as np
import pytest
from brightest import CLASSES
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from selectq.cli import confusion_picture
from selectq.cli.confusion_picture import _drawn_names, confusion_png, paint_confusion
from selectq.cli.fonts import find_fonts
from selectq.confusion import Confusion, count_confusion


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels take less time."""
    monkeypatch.setattr(confusion_picture, "DOTS_PER_INCH", 30)


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


@pytest.mark.parametrize(("classes", "counted"), [(3, True), (20, True), (21, False)])
def test_cells_show_their_counts_up_to_20_classes(classes: int, counted: bool) -> None:
    figure, shown = Figure(), confusion(classes)
    paint_confusion(figure, shown, "title")
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    expected = {
        (column, row): str(shown.counts[row, column])
        for row in range(classes)
        for column in range(classes)
        if counted and shown.counts[row, column]
    }
    assert texts == expected


@pytest.mark.parametrize(("classes", "named"), [(3, 3), (100, 100), (120, 120), (121, 61), (1000, 112)])
def test_axes_name_the_classes_or_every_so_many(classes: int, named: int) -> None:
    figure, shown = Figure(), confusion(classes, images=2)
    paint_confusion(figure, shown, "a title")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted class", "true class", "a title")
    for ticks, labels in ((axes.get_xticks(), axes.get_xticklabels()), (axes.get_yticks(), axes.get_yticklabels())):
        assert [label.get_text() for label in labels] == [f"class {int(tick)}" for tick in ticks]
        assert len(labels) == named


def test_counts_are_readable_on_every_colour() -> None:
    figure, classes = Figure(), 20
    counts = np.diag(np.arange(0, 100, 5)) + np.diag(np.arange(100, 5, -5), 1)[:classes, :classes]
    shown = Confusion(tuple(map(str, range(classes))), counts)
    paint_confusion(figure, shown, "title")
    image = figure.axes[0].images[0]
    for text in figure.axes[0].texts:
        column, row = map(int, text.get_position())
        background = _luminance(image.to_rgba(np.array([[shown.shares[row, column]]]))[0, 0, :3])
        lighter, darker = sorted((background, float(text.get_color() == "white")), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 4.5, "WCAG's contrast for text"


def test_row_without_images_says_so() -> None:
    figure = Figure()
    paint_confusion(figure, Confusion(CLASSES, np.array([[3, 1, 0], [0, 0, 0], [1, 0, 4]])), "title")
    assert [text.get_position()[1] for text in figure.axes[0].texts if text.get_text() == "no images"] == [1]


def test_class_names_are_not_taken_for_formulas() -> None:
    names = ("$5", "$\\frac$", "a_b")
    assert confusion_png(Confusion(names, np.eye(3, dtype=int)), "$x$ of $") is not None


CHINESE = ("\u732b", "\u72ac", "v\u00f6gel")


@pytest.mark.parametrize(
    "names",
    [CHINESE, ("\u0e01", "\U0001f600", "\U0010fffd"), ("a" * 300, "b" * 300, "c"), ("a\nb", "\udce9", "\x07")],
    ids=["Chinese", "of no font", "long", "control characters"],
)
def test_any_class_names_can_be_drawn(names: tuple[str, ...], recwarn: pytest.WarningsRecorder) -> None:
    assert confusion_png(Confusion(names, np.eye(3, dtype=int)), "".join(names)[:60])
    assert not list(recwarn), "such as of a letter that the font lacks"


def test_names_that_no_font_has_are_numbers_and_long_ones_short() -> None:
    drawn = list(_drawn_names(["cat", "\U0010fffd!", "d" * 300], {"\U0010fffd"}))
    assert drawn[:2] == ["cat", "#2"]
    assert drawn[2].startswith("ddd") and len(drawn[2]) < 40


def test_fonts_are_looked_for_only_where_letters_are_missing() -> None:
    assert find_fonts("v\u00f6gel") == (list(FontProperties().get_family()), set())
    families, missing = find_fonts("\u732b\U0010fffd")
    assert "\U0010fffd" in missing and len(families) == (1 if "\u732b" in missing else 2)


def _luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
