"""Scales: all values within, round marks, and words that fit."""

import itertools
import math

import pytest

from selectq.tables.svg import apart, bent, linear, logarithmic, shorten, text, width_of


@pytest.mark.parametrize(
    "values",
    [[87.0, 89.6], [0, 1e-6], [-250.0, 4.0], [3.0, 3.0], [0.0, 12345.0]],
    ids=["narrow", "tiny", "both signs", "one value", "large"],
)
def test_linear_marks_are_round_and_between_the_ends(values: list[float]) -> None:
    scale = linear(values).between(300, 20)
    assert 20 <= scale(max(values)) <= scale(min(values)) <= 300
    marks = [mark for mark, _ in scale.ticks]
    assert 1 <= len(marks) <= 7 and all(scale.low <= mark <= scale.high for mark in marks)
    steps = {f"{after - before:.6g}" for before, after in itertools.pairwise(marks)}
    assert len(steps) <= 1 and all(step.strip("0.").split("e")[0] in ("1", "2", "5") for step in steps)


def test_whole_numbers_alone_are_marked_where_they_count() -> None:
    assert [words for _, words in linear([1, 3], whole=True).ticks] == ["1", "2", "3"]


def test_logarithmic_scale_has_equal_steps_for_equal_factors() -> None:
    scale = logarithmic([0.002, 0.9]).between(0, 100)
    assert scale(0.02) - scale(0.002) == pytest.approx(scale(0.2) - scale(0.02))
    assert [words for _, words in scale.ticks] == ["0.003", "0.01", "0.03", "0.1", "0.3", "1"]
    assert len(logarithmic([1e-9, 1.0]).ticks) <= 6


def test_bent_scale_tells_small_gaps_beside_large_ones_apart() -> None:
    scale = bent([-80, 0.3], 0.5, (-50, -5, 0, 0.5), "+").between(0, 400)
    assert scale(-80) < scale(-50) < scale(-5) < scale(-0.3) - 20 and scale(0) < scale(0.3) - 20
    assert [words for _, words in scale.ticks] == ["−50", "−5", "0", "+0.5"]
    assert scale(-1e9) == 0 and math.isfinite(scale(1e9))


def test_marks_whose_words_would_touch_are_left_out() -> None:
    crowded = bent([-80, 0.3], 0.5, range(-80, 1)).between(0, 400)
    places = [(crowded(mark), width_of(words)) for mark, words in sorted(apart(crowded).ticks)]
    assert len(places) > 3
    assert all(b - a >= (wa + wb) / 2 for (a, wa), (b, wb) in itertools.pairwise(places))


def test_names_are_cut_to_the_room_that_there_is() -> None:
    assert shorten("cat", 100) == "cat"
    assert shorten("a very long name of a class", 60).endswith("…")
    for name in ("a very long name of a class", "非常に長いクラスの名前です", "vögel und andere Tiere"):
        assert width_of(shorten(name, 60)) <= 60 + width_of("…")
    assert width_of("猫") > width_of("c"), "East Asian characters are wider"


def test_text_is_escaped() -> None:
    assert "<b>" not in text(0, 0, "<b> & co")
