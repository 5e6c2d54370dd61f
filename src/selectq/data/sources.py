"""The data sources by name, and the way from a source to the packed splits."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from selectq.config.configs import DataConfig
from selectq.data.cifar10 import load_cifar10
from selectq.data.digits import load_sklearn_digits
from selectq.data.duplicates import Placed, describe_duplicates
from selectq.data.imagefolder import load_imagefolder
from selectq.data.labelled import LabelledImages, Source
from selectq.data.packed import Dataset
from selectq.data.split import hold_out
from selectq.errors import UserError

LOADERS: Mapping[str, Callable[[DataConfig, Sequence[Path]], Source]] = {
    "cifar10": load_cifar10,
    "imagefolder": load_imagefolder,
    "digits": load_sklearn_digits,
}
"""A loader takes the data parameters and the folders to look in before the network."""


def load_dataset(config: DataConfig, folders: Sequence[Path]) -> Dataset:
    """Load, check and split the images that `config` names; files are looked up in `folders` before the network.

    The validation images are the source's own where it has some, or else held out of the training images. An image that
    is in two splits or two classes is told on standard error.

    Raises:
        UserError: the source cannot be had or is not what it should be, or cannot be split as asked.
    """
    source = LOADERS[config.name](config, folders)
    parts = {**_train_and_validation(source, config), "test": (source.test, range(len(source.test)))}
    for line in describe_duplicates(_placed(parts)):
        print(f"warning: {line}", file=sys.stderr)
    splits = {name: images.packed(indices) for name, (images, indices) in parts.items()}
    return Dataset(**splits, classes=source.classes, origin=source.origin)


Part = tuple[LabelledImages, Sequence[int]]
"""Some of the images, by their indices."""


def _train_and_validation(source: Source, config: DataConfig) -> dict[str, Part]:
    own, count = source.validation, config.validation_images
    if own is None and count is not None:
        train, held = hold_out(source.train, source.classes, count, config.split_seed, "data.validation_images")
        return {"train": (source.train, train), "validation": (source.train, held)}
    if own is not None and count is None:
        return {"train": (source.train, range(len(source.train))), "validation": (own, range(len(own)))}
    if own is None:
        raise UserError(
            f"data.validation_images: null, but {source.origin['source']} has no val/ folder; write how many of the"
            " training images to hold out"
        )
    raise UserError(
        f"data.validation_images: {count}, but {source.origin['source']} has {len(own):,} images of its own in val/;"
        " write null to use these"
    )


def _placed(parts: Mapping[str, Part]) -> Iterator[Placed]:
    for split, (images, indices) in parts.items():
        for index in indices:
            yield Placed(images.digests[index], split, int(images.labels[index]), images.names[index])
