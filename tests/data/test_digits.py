"""scikit-learn's digits as a data set."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from selectq.config.configs import Cifar10Config, DataConfig, DigitsConfig, ImageFolderConfig
from selectq.data.digits import load_sklearn_digits
from selectq.errors import UserError


def config(test_images: int = 450, split_seed: int = 0) -> DataConfig:
    folder = ImageFolderConfig("", None, None, 32, skip_bad=False)
    return DataConfig("digits", 150, split_seed, Cifar10Config((), ""), folder, DigitsConfig(test_images))


def test_every_digit_is_in_one_part_with_its_label() -> None:
    source = load_sklearn_digits(config(), [])
    assert (len(source.train), len(source.test)) == (1347, 450)
    images = np.concatenate([source.train.images, source.test.images])
    labels = np.concatenate([source.train.labels, source.test.labels])
    found = sorted((label, image[0, ::4, ::4].tobytes()) for label, image in zip(labels.tolist(), images, strict=True))
    bundled = load_digits()
    grey = np.rint(bundled.images * 255 / 16).astype(np.uint8)
    assert found == sorted((label, image.tobytes()) for label, image in zip(bundled.target.tolist(), grey, strict=True))


def test_pixels_are_repeated_and_grey() -> None:
    images = load_sklearn_digits(config(), []).train.images
    assert (images.shape, images.dtype) == ((1347, 3, 32, 32), np.uint8)
    assert (images.min(), images.max()) == (0, 255)
    assert np.array_equal(images, images[:, :1, ::4, ::4].repeat(4, 2).repeat(4, 3).repeat(3, 1))


def test_parts_are_stratified() -> None:
    source = load_sklearn_digits(config(), [])
    counts = np.bincount(source.test.labels)
    assert counts.sum() == 450
    assert np.abs(counts - np.bincount(load_digits().target) * 450 / 1797).max() < 1


def test_parts_follow_the_seed() -> None:
    first, same, other = (load_sklearn_digits(config(split_seed=seed), []).test.digests for seed in (0, 0, 1))
    assert list(first) == list(same)
    assert len(set(first) & set(other)) < 200


@pytest.mark.parametrize("count", [9, 1788])
def test_too_few_or_many_test_images(count: int) -> None:
    with pytest.raises(UserError, match=rf"^data\.digits\.test_images: {count} is out of range; allowed: 10 to 1787"):
        load_sklearn_digits(config(count), [])
