"""The hold-out: stratified, disjoint, and a function of the seed and the pixels alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selectq.data.labelled import LabelledImages
from selectq.data.split import class_quotas, hold_out
from selectq.errors import UserError

CLASSES = ("bird", "cat", "dog")


def labelled(sizes: list[int]) -> LabelledImages:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(len(labels))]
    return LabelledImages(np.zeros((len(labels), 3, 1, 1), np.uint8), labels, digests, [""] * len(labels))


def test_hold_out_is_disjoint_complete_and_stratified() -> None:
    images = labelled([100, 200, 300])
    kept, held = hold_out(images, CLASSES, 60, 0, "count")
    assert sorted(kept + held) == list(range(600))
    assert np.bincount(images.labels[held]).tolist() == [10, 20, 30]


def test_hold_out_follows_the_seed_alone() -> None:
    images = labelled([100, 200, 300])
    assert hold_out(images, CLASSES, 60, 7, "count") == hold_out(images, CLASSES, 60, 7, "count")
    held, others = (set(hold_out(images, CLASSES, 60, seed, "count")[1]) for seed in (7, 8))
    assert len(held & others) < 30


def test_hold_out_chooses_the_same_images_in_any_order() -> None:
    images = labelled([50, 50, 50])
    shuffled = images.take(np.random.RandomState(0).permutation(150).tolist())
    chosen, again = (
        {each.digests[index] for index in hold_out(each, CLASSES, 30, 0, "")[1]} for each in (images, shuffled)
    )
    assert chosen == again


@pytest.mark.parametrize("count", [0, 2, 28, 30, 1000])
def test_hold_out_names_the_allowed_range(count: int) -> None:
    with pytest.raises(UserError) as refusal:
        hold_out(labelled([10, 10, 10]), CLASSES, count, 0, "data.validation_images")
    assert str(refusal.value).startswith(f"data.validation_images: {count} is out of range; allowed: 3 to 27, ")


@pytest.mark.parametrize("count", [3, 27])
def test_the_ends_of_the_allowed_range_work(count: int) -> None:
    images = labelled([2, 4, 24])
    for side in hold_out(images, CLASSES, count, 0, ""):
        assert np.bincount(images.labels[side]).min() >= 1


def test_hold_out_needs_two_images_of_a_class() -> None:
    with pytest.raises(UserError, match=r"^key: class 'cat' cannot be divided, it has 1 images; allowed: 2 or more$"):
        hold_out(labelled([5, 1, 5]), CLASSES, 4, 0, "key")


@given(st.data(), st.lists(st.integers(2, 300), min_size=1, max_size=12))
def test_quotas_are_within_one_of_the_proportion(data: st.DataObject, sizes: list[int]) -> None:
    count = data.draw(st.integers(len(sizes), sum(sizes) - len(sizes)))
    quotas = class_quotas(sizes, count)
    assert sum(quotas) == count
    assert all(1 <= quota <= size - 1 for quota, size in zip(quotas, sizes, strict=True))
    ideals = [count * size / sum(sizes) for size in sizes]
    if all(1 <= ideal <= size - 1 for ideal, size in zip(ideals, sizes, strict=True)):
        assert all(abs(quota - ideal) < 1 for quota, ideal in zip(quotas, ideals, strict=True))


def test_quotas_by_largest_remainder() -> None:
    assert class_quotas([45, 35, 20], 10) == [5, 3, 2]
    assert class_quotas([46, 34, 20], 10) == [5, 3, 2]
    assert class_quotas([44, 36, 20], 10) == [4, 4, 2]
