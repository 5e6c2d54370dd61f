"""Where training batches come from: images, augmented anew in every epoch or in a few fixed views."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from selectq.config.configs import AugmentConfig
from selectq.data.augment import EVALUATION_BATCH, augmented, draw_changes, training_batches
from selectq.data.packed import Split
from selectq.errors import UserError
from selectq.training.parallel import ALONE, Workers

Batch = tuple[Tensor, Tensor]
"""What a training step takes: inputs (B, ...) and labels (B,)."""


class Batches(Protocol):
    """The batches of a training run; its length is that of an epoch, without an incomplete last batch."""

    def __len__(self) -> int: ...

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of an epoch, in an order drawn from `generator`."""


def _check(split: Split, batch_size: int, workers: Workers) -> None:
    if len(split) < batch_size:
        raise UserError(f"batch_size: {batch_size} is more than the {len(split)} training images")
    workers.require_equal_shares(batch_size)


class AugmentedImages:
    """Float images (B, 3, H, W), augmented anew in every epoch; of each batch, this process's share.

    Raises:
        UserError: the split is smaller than a batch, or that cannot be divided among the processes.
    """

    def __init__(self, split: Split, batch_size: int, augment: AugmentConfig, workers: Workers = ALONE) -> None:
        _check(split, batch_size, workers)
        self._split = split
        self._batch_size = batch_size
        self._augment = augment
        self._share = workers.share

    def __len__(self) -> int:
        return len(self._split) // self._batch_size

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        return training_batches(self._split, self._batch_size, self._augment, generator, self._share)


class FixedViews:
    """Float images (B, 3, H, W), each in a fixed number of augmented views, one view an epoch in turns.

    Raises:
        UserError: the split is smaller than a batch, or that cannot be divided among the processes.
    """

    def __init__(
        self, split: Split, batch_size: int, augment: AugmentConfig, views: int, seed: int, *, workers: Workers = ALONE
    ) -> None:
        _check(split, batch_size, workers)
        self._split = split
        self._batch_size = batch_size
        self._augment = augment
        self._seed = seed
        self._share = workers.share
        self.count = views
        self.chunks = -(-len(split) // EVALUATION_BATCH)  # of each view

    def __len__(self) -> int:
        return len(self._split) // self._batch_size

    def view(self, index: int) -> Iterator[Tensor]:
        """All images as they are shown in epoch `index`, uint8 (B, 3, H, W), at most `EVALUATION_BATCH` at a time."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + index % self.count)
        for chunk in self._split.chunks(EVALUATION_BATCH):
            yield augmented(chunk, draw_changes(len(chunk), self._augment, generator))

    def chosen(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The indices (B,) of each batch's images, this process's share."""
        order = torch.randperm(len(self._split), generator=generator).to(self._split.device)
        return (batch[self._share] for batch in order[: len(self) * self._batch_size].split(self._batch_size))

    def labels(self, chosen: Tensor) -> Tensor:
        """Of the images with the indices `chosen`."""
        return self._split.labels[chosen]

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        images = torch.cat(list(self.view(index)))
        return ((self._split.normalization(images[chosen]), self.labels(chosen)) for chosen in self.chosen(generator))
