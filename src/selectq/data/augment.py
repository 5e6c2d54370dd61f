"""Batches of images, cut and flipped together on the device where they lie."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from selectq.config.configs import AugmentConfig
from selectq.data.normalization import PIXEL_ZERO_POINT
from selectq.data.packed import Split
from selectq.progress import progress

EVALUATION_BATCH = 250
WHOLE = slice(None)
"""The share of a process that trains alone."""


@dataclass(frozen=True)
class Changes:
    """What happens to each of N images: offsets (2, N, 1), rows and columns, into its padded self; flips (N,); the
    centre of its hole (2, N, 1), as shares of height and width."""

    config: AugmentConfig
    offsets: Tensor | None
    flips: Tensor | None
    centres: Tensor | None

    def of(self, share: slice) -> "Changes":
        """The changes of some of the images."""
        offsets = None if self.offsets is None else self.offsets[:, share]
        centres = None if self.centres is None else self.centres[:, share]
        return Changes(self.config, offsets, None if self.flips is None else self.flips[share], centres)


def draw_changes(count: int, config: AugmentConfig, generator: torch.Generator) -> Changes:
    """Shifts, flips and holes of `count` images; random numbers from the CPU."""
    places = 2 * config.crop_padding + 1
    offsets = torch.randint(places, (2, count, 1), generator=generator) if config.crop_padding else None
    flips = torch.rand(count, generator=generator) < 0.5 if config.flip else None
    return Changes(config, offsets, flips, torch.rand(2, count, 1, generator=generator) if config.cutout else None)


def augmented(images: Tensor, changes: Changes) -> Tensor:
    """uint8 (N, 3, H, W) -> the same shape, each image shifted, flipped and with its hole."""
    if changes.offsets is not None:
        images = _shifted(images, changes.config.crop_padding, changes.offsets.to(images.device))
    if changes.flips is not None:
        images = torch.where(changes.flips.to(images.device)[:, None, None, None], images.flip(3), images)
    if changes.centres is not None:
        images = _with_holes(images, changes.config.cutout, changes.centres.to(images.device))
    return images


def _shifted(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    count, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4, value=PIXEL_ZERO_POINT)  # (N, 3, H + 2p, W + 2p)
    rows = offsets[0] + torch.arange(height, device=images.device)  # (N, H)
    columns = offsets[1] + torch.arange(width, device=images.device)  # (N, W)
    batch = torch.arange(count, device=images.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W)


def _with_holes(images: Tensor, size: int, centres: Tensor) -> Tensor:
    """Grey squares of `size` pixels, cut off where they reach over the border."""
    height, width = images.shape[2:]
    first = (
        centres * torch.tensor([height, width], device=images.device)[:, None, None]
    ).floor() - size // 2  # (2, N, 1)
    rows = (torch.arange(height, device=images.device) - first[0]) // size == 0  # (N, H)
    columns = (torch.arange(width, device=images.device) - first[1]) // size == 0  # (N, W)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], PIXEL_ZERO_POINT)


def training_batches(
    split: Split, batch_size: int, config: AugmentConfig, generator: torch.Generator, share: slice = WHOLE
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: float (B, 3, H, W) and labels (B,). The incomplete last batch is dropped.

    Of each batch, only the images of `share` are read and put out; which images are in it, and what happens to each,
    does not depend on it.
    """
    order = torch.randperm(len(split), generator=generator).to(split.device)
    for start in range(0, len(split) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size][share]
        changes = draw_changes(batch_size, config, generator).of(share)
        yield split.normalization(augmented(split.pixels(chosen), changes)), split.labels[chosen]


def image_batches(split: Split) -> Iterator[Tensor]:
    """All images as float (B, 3, H, W) in order, as they are, at most `EVALUATION_BATCH` at a time."""
    return (split.normalization(chunk) for chunk in split.chunks(EVALUATION_BATCH))


def shown_batches(split: Split, label: str) -> Iterable[Tensor]:
    """`image_batches` with a progress bar."""
    return progress(image_batches(split), -(-len(split) // EVALUATION_BATCH), label)
