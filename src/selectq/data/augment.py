"""Batches of images, cut and flipped together on the device where they lie."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from selectq.data.packed import Split
from selectq.params.configs import AugmentConfig

EVALUATION_BATCH = 250
PIXEL_ZERO_POINT = 128
PIXEL_SCALE = 1 / 64
"""A pixel p stands for (p - 128) / 64: uint8 pixels are their own 8-bit quantization, without error."""


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 in [-2, 2), channels last."""
    centred = images.to(torch.float32).sub_(PIXEL_ZERO_POINT).mul_(PIXEL_SCALE)
    return centred.contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """uint8 (N, 3, H, W) -> the same shape, each image shifted and flipped at random; random numbers from the CPU."""
    if config.crop_padding:
        images = _random_crop(images, config.crop_padding, generator)
    if config.flip:
        flips = torch.rand(len(images), generator=generator).to(images.device) < 0.5
        images = torch.where(flips[:, None, None, None], images.flip(3), images)
    return images


def _random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4, value=PIXEL_ZERO_POINT)  # (N, 3, H + 2p, W + 2p)
    offsets = torch.randint(2 * padding + 1, (2, count, 1), generator=generator).to(images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)  # (N, H)
    columns = offsets[1] + torch.arange(width, device=images.device)  # (N, W)
    batch = torch.arange(count, device=images.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W)


def training_batches(
    split: Split, batch_size: int, config: AugmentConfig, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: float (B, 3, H, W) and labels (B,). The incomplete last batch is dropped."""
    order = torch.randperm(len(split), generator=generator).to(split.labels.device)
    for start in range(0, len(split) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield normalise(augmented(split.images[chosen], config, generator)), split.labels[chosen]


def image_batches(images: Tensor) -> Iterator[Tensor]:
    """uint8 (N, 3, H, W) -> float batches in order, as they are, of at most `EVALUATION_BATCH` images."""
    return (normalise(chunk) for chunk in images.split(EVALUATION_BATCH))
