"""Configurations in the words of tables for readers."""

import re
from collections.abc import Iterable, Sequence

from selectq.config.algorithms import in_order
from selectq.config.configs import KINDS, LAYER_KINDS

ALGORITHMS: dict[str, str] = {
    "relu6_as_relu": "ReLU for ReLU6",
    "zero_dead_channels": "zeroed dead channels",
    "equalize": "equalization",
    "reestimate_batchnorm": "batch-norm re-estimation",
    "clip_weights": "weight clipping",
    "adaptive_rounding": "adaptive rounding",
    "reconstruct_blocks": "block reconstruction",
    "correct_bias": "bias correction",
}
"""The post-training (PTQ) algorithms as readers know them, in the order in which they act."""


def write_algorithms(algorithms: Iterable[str]) -> str:
    """PTQ algorithms in words, in the order in which they act."""
    return ", ".join(ALGORITHMS.get(name, name.replace("_", " ")) for name in in_order(algorithms))


MOST_MODULES = 3
"""Module names, of a scope or of one width, that a table for readers spells out."""


def shorten_scope(text: str) -> str:
    """A scope, as `write_scope` writes it, with many module names as their number: `12 layers + classifier`."""
    scope, semicolon, algorithms = text.partition("; ")
    return " + ".join(_counted(scope.split(" + "))) + semicolon + algorithms


def shorten_bits(text: str) -> str:
    """Widths, as `write_bits` writes them, likewise: `4 (8: 12 layers, stem)`."""
    return re.sub(r"(?<=: )[^;)]+", lambda names: ", ".join(_counted(names[0].split(", "))), text)


def _counted(entries: Sequence[str]) -> Sequence[str]:
    names = [entry for entry in entries if entry not in ("all", "none", *KINDS, *LAYER_KINDS)]
    others = [entry for entry in entries if entry not in names]
    return [f"{len(names)} layers", *others] if len(names) > MOST_MODULES else entries
