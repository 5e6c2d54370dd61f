"""The one packed file that every later stage reads: uint8 images and labels of three fixed splits."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, 3, H, W) and their labels as int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """The split with its tensors on `device`, where they stay."""
        return Split(self.images.to(device), self.labels.to(device))

    def sample(self, count: int, seed: int) -> "Split":
        """`count` images chosen at random, without repetition.

        Raises:
            UserError: there are fewer.
        """
        if count > len(self):
            raise UserError(f"{count} images are asked for; this split holds {len(self)}")
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        chosen = chosen.to(self.labels.device)
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Dataset:
    """The three splits, the class names in label order, and where the images come from."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    origin: dict[str, Any]

    def to(self, device: torch.device) -> "Dataset":
        """The data set with its tensors on `device`, where they stay."""
        splits = {name: getattr(self, name).to(device) for name in SPLITS}
        return dataclasses.replace(self, **splits)


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Pack a data set into one safetensors file."""
    tensors = {}
    for name in SPLITS:
        split: Split = getattr(dataset, name)
        tensors[f"{name}.images"] = split.images
        tensors[f"{name}.labels"] = split.labels
    write_tensors(path, tensors, {"classes": dataset.classes, "origin": dataset.origin})


def read_dataset(path: Path) -> Dataset:
    """Read a packed data set.

    Raises:
        UserError: the file is missing, damaged or not a packed data set.
    """
    tensors, metadata = read_tensors(path)
    try:
        splits = {name: Split(tensors[f"{name}.images"], tensors[f"{name}.labels"]) for name in SPLITS}
        return Dataset(**splits, classes=tuple(metadata["classes"]), origin=metadata["origin"])
    except KeyError as error:
        raise UserError(f"{path}: not a packed data set ({error} is missing); run the download stage") from None
