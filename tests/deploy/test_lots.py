"""Three lots of images: disjoint, stratified, the same however they are packed, from whatever parts there are."""

import tarfile
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selectq.data.packed import Dataset
from selectq.deploy.lots import LARGEST, open_lots
from selectq.errors import UserError

SIZE = 8


def write(folder: Path, *names: str, value: int = 0) -> Path:
    """An image of its own colour for each name; the first pixel is its number."""
    for number, name in enumerate(names, value):
        pixels = np.full((SIZE, SIZE, 3), 100, np.uint8)
        pixels[0, 0] = number % 256, number // 256, 0
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def names(part: str, *counts: int) -> list[str]:
    return [
        f"{part}{label}/{number:03}.png" for label, count in zip("abc", counts, strict=False) for number in range(count)
    ]


def read(path: Path, seed: int = 0, largest: Mapping[str, int] = LARGEST) -> Dataset:
    return open_lots(path, SIZE, seed, skip_bad=False, largest=largest).read()


def numbers(dataset: Dataset, lot: str) -> list[int]:
    """Of the images of a lot."""
    images = getattr(dataset, lot).images.int()
    return (images[:, 0, 0, 0] + 256 * images[:, 1, 0, 0]).tolist()


def sizes(dataset: Dataset) -> list[int]:
    return [len(getattr(dataset, lot)) for lot in ("train", "validation", "test")]


def test_plain_folders_are_divided_class_by_class_and_disjoint(tmp_path: Path) -> None:
    dataset = read(write(tmp_path / "images", *names("", 50, 30, 20)))
    assert dataset.classes == ("a", "b", "c") and sizes(dataset) == [20, 16, 64]
    every = [number for lot in ("train", "validation", "test") for number in numbers(dataset, lot)]
    assert sorted(every) == list(range(100))
    shares = [Counter(getattr(dataset, lot).labels.tolist()) for lot in ("train", "validation", "test")]
    assert shares == [{0: 10, 1: 6, 2: 4}, {0: 8, 1: 5, 2: 3}, {0: 32, 1: 19, 2: 13}]
    for lot in ("train", "validation", "test"):
        expected = [0 if number < 50 else 1 if number < 80 else 2 for number in numbers(dataset, lot)]
        assert getattr(dataset, lot).labels.tolist() == expected


def test_packing_changes_nothing_and_the_seed_does(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", *names("", 20, 10))
    files = sorted(folder.rglob("*.png"), reverse=True)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as packed:
        for file in files:
            packed.write(file, file.relative_to(folder))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as tar:
        for file in files:
            tar.add(file, str(Path("top") / file.relative_to(folder)))
    first = read(folder)
    for other in ("images.zip", "images.tar.gz"):
        for lot in ("train", "validation", "test"):
            assert torch.equal(getattr(read(tmp_path / other), lot).images, getattr(first, lot).images), (other, lot)
    assert set(numbers(read(folder, seed=1), "test")) != set(numbers(first, "test"))


FROM_PARTS = {
    ("train", "val", "test"): ([40, 40, 40], []),
    ("train", "test"): ([32, 8, 40], ["the choice is made on images of train/"]),
    ("train", "val"): ([40, 8, 32], ["accuracies are those on val/"]),
    ("val", "test"): ([32, 8, 40], []),
    ("test",): ([8, 6, 26], []),
    ("train",): ([8, 6, 26], ["the choice is made on images of train/", "accuracies are those on images of train/"]),
}


@pytest.mark.parametrize("parts", FROM_PARTS, ids="+".join)
def test_lots_come_from_the_parts_that_there_are(parts: Collection[str], tmp_path: Path) -> None:
    for number, part in enumerate(parts):
        write(tmp_path, *names(f"{part}/", 30, 10), value=100 * number)
    opened = open_lots(tmp_path, SIZE, 0, skip_bad=False)
    dataset, (expected, notes) = opened.read(), FROM_PARTS[tuple(parts)]
    assert sizes(dataset) == expected
    assert [note.partition(",")[0] for note in opened.notes] == notes
    every = [number for lot in ("train", "validation", "test") for number in numbers(dataset, lot)]
    assert len(set(every)) == len(every) == 40 * len(parts)
    if len(parts) == 3:
        assert [set(number // 100 for number in numbers(dataset, lot)) for lot in ("train", "validation", "test")] == [
            {0},
            {1},
            {2},
        ]


def test_lots_are_no_larger_than_they_need_be(tmp_path: Path) -> None:
    largest = {"train": 6, "validation": 4}
    assert sizes(read(write(tmp_path / "plain", *names("", 40, 40)), largest=largest)) == [6, 4, 70]
    write(tmp_path / "parts", *(name for part in ("train/", "val/", "test/") for name in names(part, 10, 10)))
    assert sizes(read(tmp_path / "parts", largest=largest)) == [6, 4, 20]


def test_same_image_twice_is_in_one_lot(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", *names("", 10, 10))
    for file in sorted(folder.rglob("*.png")):
        file.with_name(f"copy of {file.name}").write_bytes(file.read_bytes())
    dataset = read(folder)
    lots = [set(numbers(dataset, lot)) for lot in ("train", "validation", "test")]
    assert sum(map(len, lots)) == len(set.union(*lots)) == 20
    assert sum(sizes(dataset)) == 40


def test_images_are_brought_to_the_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", *names("", 5, 5))
    assert open_lots(folder, 12, 0, skip_bad=False).read().test.images.shape[1:] == (3, 12, 12)
    assert open_lots(folder, None, 0, skip_bad=False).size == 224


def test_smallest_set_and_one_that_is_smaller(tmp_path: Path) -> None:
    assert sizes(read(write(tmp_path / "images", *names("", 3, 3)))) == [2, 2, 2]
    (tmp_path / "images/b/002.png").write_bytes((tmp_path / "images/b/001.png").read_bytes())
    with pytest.raises(UserError, match=r"class 'b' has 2 different images for 3 uses; allowed: 3 or more$"):
        read(tmp_path / "images")
