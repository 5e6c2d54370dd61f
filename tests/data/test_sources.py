"""From a source to the packed splits."""

from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

from selectq.config.configs import Cifar10Config, DataConfig, DigitsConfig, ImageFolderConfig
from selectq.data.fetch import data_folders
from selectq.data.labelled import image_digest
from selectq.data.packed import SPLITS, Dataset, Split
from selectq.data.sources import LOADERS, load_dataset
from selectq.errors import UserError

DIGITS = DataConfig(
    "digits",
    150,
    0,
    Cifar10Config((), ""),
    ImageFolderConfig("", None, None, 32, skip_bad=False),
    DigitsConfig(test_images=450),
)


def digests(split: Split) -> list[bytes]:
    return [image_digest(image) for image in split.images.numpy()]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DIGITS, [])


def test_every_name_has_a_loader() -> None:
    names = get_type_hints(DataConfig)["name"].__args__
    assert set(LOADERS) == set(names)


def test_splits_are_disjoint_and_whole(digits: Dataset) -> None:
    parts = [digests(getattr(digits, name)) for name in SPLITS]
    assert [len(part) for part in parts] == [1197, 150, 450]
    assert len(set().union(*parts)) == 1797


def test_splits_are_in_the_order_of_labels_and_digests(digits: Dataset) -> None:
    for name in SPLITS:
        split = getattr(digits, name)
        keys = list(zip(split.labels.tolist(), digests(split), strict=True))
        assert keys == sorted(keys)


def test_same_seed_same_bytes_other_seed_others(digits: Dataset) -> None:
    again, other = (load_dataset(replace(DIGITS, split_seed=seed), []) for seed in (0, 1))
    assert torch.equal(again.validation.images, digits.validation.images)
    assert torch.equal(again.train.labels, digits.train.labels)
    assert not torch.equal(other.validation.images, digits.validation.images)


def test_validation_images_never_change_the_test_set(digits: Dataset) -> None:
    larger = load_dataset(replace(DIGITS, validation_images=300), [])
    assert torch.equal(larger.test.images, digits.test.images)
    assert set(digests(digits.validation)) < set(digests(larger.validation))


def test_too_many_validation_images() -> None:
    with pytest.raises(UserError, match=r"^data\.validation_images: 1338 is out of range; allowed: 10 to 1337, "):
        load_dataset(replace(DIGITS, validation_images=1338), [])


def test_data_folders(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELECTQ_DATA", raising=False)
    assert data_folders() == []
    monkeypatch.setenv("SELECTQ_DATA", f"{here}:{here.parent}:")
    assert data_folders() == [here, here.parent]
    monkeypatch.setenv("SELECTQ_DATA", f"{here}:{here}/none")
    with pytest.raises(UserError, match=r"^SELECTQ_DATA: .*/none is not a folder$"):
        data_folders()
