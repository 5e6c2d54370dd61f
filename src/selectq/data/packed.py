"""The one packed file that every later stage reads: uint8 images and labels of three fixed splits."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selectq.data.normalization import INTEGER_GRID, Normalization
from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors

IMAGES = Path("data/images.safetensors")
"""Where the pipeline has it."""

SPLITS = ("train", "validation", "test")
RESIDENT_SHARE = 0.5
"""Of a GPU's free memory that a split's images may fill; the rest is for training."""


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, 3, H, W), their labels as int64 (N,), and what batches of them are made with."""

    images: Tensor
    labels: Tensor
    normalization: Normalization = INTEGER_GRID

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where computation runs, and batches go."""
        return self.labels.device

    def to(self, device: torch.device) -> "Split":
        """The split for computation on `device`: its images too, unless they are too many to stay there."""
        images = self.images.to(device) if self.images.nbytes <= _room(device) else self.images
        return dataclasses.replace(self, images=images, labels=self.labels.to(device))

    def part(self, share: slice) -> "Split":
        """Some of the images; nothing is copied."""
        return dataclasses.replace(self, images=self.images[share], labels=self.labels[share])

    def pixels(self, chosen: Tensor) -> Tensor:
        """The images with the indices `chosen`, uint8 (B, 3, H, W), on the device; of a file, no others are read."""
        return self.images[chosen.to(self.images.device)].to(self.device)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All images in order, uint8 (B, 3, H, W), on the device, `size` at a time."""
        return (chunk.to(self.device) for chunk in self.images.split(size))

    def sample(self, count: int, seed: int) -> "Split":
        """`count` images chosen at random, without repetition, on the device.

        Raises:
            UserError: there are fewer.
        """
        if count > len(self):
            raise UserError(f"{count} images are asked for; this split holds {len(self)}")
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        return dataclasses.replace(self, images=self.pixels(chosen), labels=self.labels[chosen.to(self.device)])


def _room(device: torch.device) -> float:
    """Bytes of images that may stay on a device. The CPU reads them from the file, as they are needed."""
    return torch.cuda.mem_get_info(device)[0] * RESIDENT_SHARE if device.type == "cuda" else float("inf")


@dataclass(frozen=True)
class Dataset:
    """The three splits, the class names in label order, and where the images come from."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    origin: dict[str, Any]

    def to(self, device: torch.device) -> "Dataset":
        """The data set for computation on `device`; see `Split.to`."""
        splits = {name: getattr(self, name).to(device) for name in SPLITS}
        return dataclasses.replace(self, **splits)

    def normalised(self, normalization: Normalization) -> "Dataset":
        """The data set whose batches are made with `normalization`; the images stay as they are."""
        splits = {name: dataclasses.replace(getattr(self, name), normalization=normalization) for name in SPLITS}
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
    """Read a packed data set. Images stay in the file until they are used, so it may be larger than the memory.

    Raises:
        UserError: the file is missing, damaged or not a packed data set.
    """
    tensors, metadata = read_tensors(path)
    try:
        splits = {name: Split(tensors[f"{name}.images"], tensors[f"{name}.labels"]) for name in SPLITS}
        return Dataset(**splits, classes=tuple(metadata["classes"]), origin=metadata["origin"])
    except KeyError as error:
        raise UserError(f"{path}: not a packed data set ({error} is missing); run the download stage") from None
