"""The names of the post-training quantization (PTQ) algorithms: known before any of their code is loaded."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

RELU6_AS_RELU = "relu6_as_relu"
OWN = (RELU6_AS_RELU, "zero_dead_channels", "equalize", "reestimate_batchnorm", "correct_bias")
"""Those of selectq, in the order in which they act."""

GROUP = "selectq.ptq_algorithms"
"""The entry points under which other packages offer theirs; `docs/extend.md` shows how."""

registered: list[str] = []
"""Names that were registered in this process; see `selectq.ptq.registry`."""


@cache
def offered() -> dict[str, EntryPoint]:
    """What installed packages offer, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known_algorithms() -> tuple[str, ...]:
    """All names: selectq's own in the order in which they act, then others."""
    return tuple(dict.fromkeys([*OWN, *offered(), *registered]))


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of `known_algorithms`; at the end those that are not known here."""
    chosen = list(names)
    return [name for name in dict.fromkeys([*known_algorithms(), *chosen]) if name in chosen]
