"""The gate lets through what the parameters allow, and names what they do not."""

import pandas as pd
import pytest

from selectq.config.configs import ParityConfig
from selectq.errors import UserError
from selectq.parity.gate import hold_to_tolerance

TOLERANCE = ParityConfig(images=10, layer_images=10, layer_steps=1, flipped_pct=0.1)


def pairs(flipped: float) -> pd.DataFrame:
    return pd.DataFrame({"one": ["simulation", "onnx_plain"], "other": ["onnx", "onnx"], "flipped_pct": [0.0, flipped]})


def layers(steps: int) -> pd.DataFrame:
    return pd.DataFrame({"form": ["onnx", "executorch"], "layer": ["features.3", "features.4"], "steps": [1, steps]})


def test_what_is_allowed_passes() -> None:
    hold_to_tolerance("dw", pairs(0.1), layers(1), TOLERANCE)


@pytest.mark.parametrize(
    ("flipped", "steps", "message"),
    [
        (0.11, 0, "dw predicts another class in backend onnx than in onnx_plain for 0.11 % .* allows 0.1"),
        (0.0, 2, "dw in backend executorch is 2 integer steps from the reference at features.4, .* allows 1"),
    ],
)
def test_what_is_not_allowed_is_named(flipped: float, steps: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        hold_to_tolerance("dw", pairs(flipped), layers(steps), TOLERANCE)
