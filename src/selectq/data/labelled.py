"""Labelled images on the way from a source to the packed file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selectq.data.packed import Split


@dataclass(frozen=True)
class LabelledImages:
    """Images as uint8 (N, 3, H, W), labels as int64 (N,), `image_digest` of each image as it came, and its name."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digests: Sequence[bytes]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> "LabelledImages":
        """The images at `indices`, in that order."""
        digests, names = [self.digests[index] for index in indices], [self.names[index] for index in indices]
        return LabelledImages(self.images[indices], self.labels[indices], digests, names)

    def packed(self, indices: Sequence[int]) -> Split:
        """The images at `indices` by label and digest: an order that owes nothing to how the source was packed."""
        ordered = sorted(indices, key=lambda index: (self.labels[index], self.digests[index]))
        return Split(torch.from_numpy(self.images[ordered]), torch.from_numpy(self.labels[ordered]))


@dataclass(frozen=True)
class Source:
    """What a loader delivers: training and test images, class names in label order, and their origin.

    `validation` is None where the source has none of its own, and some of the training images are held out.
    """

    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    origin: dict[str, Any]
    validation: LabelledImages | None = None


def image_digest(planes: NDArray[np.uint8]) -> bytes:
    """The sha256 of an image's shape and pixels; `planes` is uint8 (3, H, W)."""
    return hashlib.sha256(f"{planes.shape}".encode() + planes.tobytes()).digest()
