"""Activation functions that clamp, as what they clamp to."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """What an activation function clamps to: ReLU is (0, inf), ReLU6 (0, 6), none (-inf, inf)."""

    low: float
    high: float

    @property
    def keeps_scaling(self) -> bool:
        """Whether f(s x) = s f(x) for every s > 0."""
        return self.low in (0.0, -math.inf) and self.high == math.inf


UNBOUNDED = Bounds(-math.inf, math.inf)
RELU = Bounds(0.0, math.inf)
RELU6 = Bounds(0.0, 6.0)
UNIT = Bounds(0.0, 1.0)
"""Of a hard-sigmoid, once x / 6 + 1 / 2 is part of the layer before it."""

HARD_SWISH_INPUT = Bounds(-3.0, math.inf)
"""Below -3 a hard-swish puts out 0 whatever it reads."""
