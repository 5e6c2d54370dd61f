"""The data sources by name, and the way from a source to the packed splits."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from selectq.data.cifar10 import load_cifar10
from selectq.data.digits import load_sklearn_digits
from selectq.data.imagefolder import load_imagefolder
from selectq.data.labelled import Source
from selectq.data.packed import Dataset
from selectq.data.split import hold_out
from selectq.params.configs import DataConfig

LOADERS: Mapping[str, Callable[[DataConfig, Sequence[Path]], Source]] = {
    "cifar10": load_cifar10,
    "imagefolder": load_imagefolder,
    "digits": load_sklearn_digits,
}
"""A loader takes the data parameters and the folders to look in before the network."""


def load_dataset(config: DataConfig, folders: Sequence[Path]) -> Dataset:
    """Load, check and split the images that `config` names; files are looked up in `folders` before the network.

    Raises:
        UserError: the source cannot be had or is not what it should be, or cannot be split as asked.
    """
    source = LOADERS[config.name](config, folders)
    train, validation = hold_out(
        source.train, source.classes, config.validation_images, config.split_seed, "data.validation_images"
    )
    return Dataset(
        train=source.train.packed(train),
        validation=source.train.packed(validation),
        test=source.test.packed(range(len(source.test))),
        classes=source.classes,
        origin=source.origin,
    )
