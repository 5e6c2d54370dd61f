"""Where training batches come from: images, augmented anew in every epoch or in a few fixed views."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from selectq.data.augment import EVALUATION_BATCH, augmented, normalise, training_batches
from selectq.data.packed import Split
from selectq.errors import UserError
from selectq.params.configs import AugmentConfig

Batch = tuple[Tensor, Tensor]
"""What a training step takes: inputs (B, ...) and labels (B,)."""


class Batches(Protocol):
    """The batches of a training run; its length is that of an epoch, without an incomplete last batch."""

    def __len__(self) -> int: ...

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of an epoch, in an order drawn from `generator`."""


def _check(split: Split, batch_size: int) -> None:
    if len(split) < batch_size:
        raise UserError(f"batch_size: {batch_size} is more than the {len(split)} training images")


class AugmentedImages:
    """Float images (B, 3, H, W), augmented anew in every epoch.

    Raises:
        UserError: the split is smaller than a batch.
    """

    def __init__(self, split: Split, batch_size: int, augment: AugmentConfig) -> None:
        _check(split, batch_size)
        self._split = split
        self._batch_size = batch_size
        self._augment = augment

    def __len__(self) -> int:
        return len(self._split) // self._batch_size

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        return training_batches(self._split, self._batch_size, self._augment, generator)


class FixedViews:
    """Float images (B, 3, H, W), each in a fixed number of augmented views, one view an epoch in turns.

    Raises:
        UserError: the split is smaller than a batch.
    """

    def __init__(self, split: Split, batch_size: int, augment: AugmentConfig, views: int, seed: int) -> None:
        _check(split, batch_size)
        self._split = split
        self._batch_size = batch_size
        self._augment = augment
        self._views = views
        self._seed = seed

    def __len__(self) -> int:
        return len(self._split) // self._batch_size

    def view(self, index: int) -> Tensor:
        """All images, uint8 (N, 3, H, W), as they are shown in epoch `index`."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + index % self._views)
        chunks = self._split.images.split(EVALUATION_BATCH)
        return torch.cat([augmented(chunk, self._augment, generator) for chunk in chunks])

    def chosen(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The indices (B,) of each batch's images."""
        order = torch.randperm(len(self._split), generator=generator).to(self._split.labels.device)
        return iter(order[: len(self) * self._batch_size].split(self._batch_size))

    def labels(self, chosen: Tensor) -> Tensor:
        """Of the images with the indices `chosen`."""
        return self._split.labels[chosen]

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        images = self.view(index)
        return ((normalise(images[chosen]), self.labels(chosen)) for chosen in self.chosen(generator))
