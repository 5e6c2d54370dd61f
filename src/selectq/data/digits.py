"""scikit-learn's handwritten digits: real images that need no network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from selectq.config.configs import DataConfig
from selectq.data.labelled import LabelledImages, Source, image_digest
from selectq.data.split import hold_out

PIXEL_REPEATS = 4


def load_sklearn_digits(config: DataConfig, _folders: Sequence[Path]) -> Source:
    """Load the 1,797 digits as 32x32 RGB; a stratified test set is split off by `split_seed`.

    Raises:
        UserError: `data.digits.test_images` is too small or too large.
    """
    bundled = load_digits()
    grey = np.rint(bundled.images * (255 / 16)).astype(np.uint8)
    large = grey.repeat(PIXEL_REPEATS, axis=1).repeat(PIXEL_REPEATS, axis=2)
    images = np.stack([large] * 3, axis=1)
    digests, names = [image_digest(image) for image in images], [f"digit {number}" for number in range(len(images))]
    digits = LabelledImages(images, bundled.target.astype(np.int64), digests, names)
    classes = tuple(str(name) for name in bundled.target_names)
    train, test = hold_out(digits, classes, config.digits.test_images, config.split_seed, "data.digits.test_images")
    return Source(digits.take(train), digits.take(test), classes, {"name": "digits", "source": "scikit-learn"})
