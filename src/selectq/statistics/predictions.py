"""Which test images each network gets right, by the logits that it was measured by."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.files import read_tensors

REFERENCE = "fp32"
"""The network that all configurations come from."""

Right = NDArray[np.bool_]
"""Whether a network is right about each test image, (N,)."""


@dataclass(frozen=True)
class Predictions:
    """Of the FP32 network and every configuration by name, and of the further trainings by configuration and seed."""

    own: dict[str, Right]
    repeated: dict[str, dict[int, Right]]


def read_predictions(
    folder: Path, names: Iterable[str], repeats: Iterable[tuple[str, int]], labels: NDArray[np.int64]
) -> Predictions:
    """Read the logits of the test images, whose labels are (N,).

    Args:
        folder: holds NAME.safetensors of every network, and repeats/NAME-SEED.safetensors of further trainings.
        names: of the configurations.
        repeats: configuration and seed of the further trainings.
        labels: (N,) of the test images.

    Raises:
        UserError: a file is missing, damaged, or of other images or another network.
    """
    own = {name: folder / f"{name}.safetensors" for name in (REFERENCE, *names)}
    further = {(name, seed): folder / "repeats" / f"{name}-{seed}.safetensors" for name, seed in repeats}
    repeated: dict[str, dict[int, Right]] = {}
    for (name, seed), path in further.items():
        repeated.setdefault(name, {})[seed] = _read_right(path, {"config": name, "seed": seed}, labels)
    return Predictions({name: _read_right(path, {"config": name}, labels) for name, path in own.items()}, repeated)


def _read_right(path: Path, network: dict[str, Any], labels: NDArray[np.int64]) -> Right:
    tensors, metadata = read_tensors(path)
    expected = network | {"split": "test"}
    if metadata != expected or "logits" not in tensors or len(tensors["logits"]) != len(labels):
        raise UserError(
            f"{path}: holds {metadata!r:.80}; expected logits of {expected}, {len(labels)} images;"
            " run the stage that writes it"
        )
    right: Right = tensors["logits"].argmax(1).numpy() == labels
    return right
