"""Activation functions as what they clamp to."""

import math
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Bounds:
    """What an activation function clamps to: ReLU is (0, inf), ReLU6 (0, 6), none (-inf, inf)."""

    low: float
    high: float


UNBOUNDED = Bounds(-math.inf, math.inf)

BOUNDS = {nn.ReLU: Bounds(0.0, math.inf), nn.ReLU6: Bounds(0.0, 6.0)}
