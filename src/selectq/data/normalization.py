"""What a network takes for a pixel."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from selectq.config.configs import NormalizationConfig

PIXEL_ZERO_POINT = 128
PIXEL_SCALE = 1 / 64


@dataclass(frozen=True)
class Normalization:
    """A pixel p from 0 to 255 becomes (p - shift) * scale, each for red, green and blue."""

    shift: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, config: NormalizationConfig) -> Self:
        """That of the parameters, which are of pixels from 0 to 1."""
        return cls(tuple(255 * mean for mean in config.mean), tuple(1 / (255 * std) for std in config.std))

    @property
    def mean(self) -> tuple[float, ...]:
        """Of pixels from 0 to 1."""
        return tuple(shift / 255 for shift in self.shift)

    @property
    def std(self) -> tuple[float, ...]:
        """Of pixels from 0 to 1."""
        return tuple(1 / (255 * scale) for scale in self.scale)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> float32 of the same shape, channels last."""
        shift, scale = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in (self.shift, self.scale))
        return images.to(torch.float32).sub_(shift).mul_(scale).contiguous(memory_format=torch.channels_last)


INTEGER_GRID = Normalization((PIXEL_ZERO_POINT,) * 3, (PIXEL_SCALE,) * 3)
"""A pixel p stands for (p - 128) / 64: uint8 pixels are their own 8-bit quantization, without error."""
