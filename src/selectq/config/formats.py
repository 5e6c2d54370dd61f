"""The formats of program files, by their endings: known before any of their code is loaded."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

OWN = ("onnx", "pt2", "pte")
"""Those of selectq."""

GROUP = "selectq.formats"
"""The entry points under which other packages offer theirs; `docs/extend.md` shows how."""

registered: list[str] = []
"""Endings that were registered in this process; see `selectq.programs.program`."""


@cache
def offered() -> dict[str, EntryPoint]:
    """What installed packages offer, by ending."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known_formats() -> tuple[str, ...]:
    """All endings: selectq's own, then others."""
    return tuple(dict.fromkeys([*OWN, *offered(), *registered]))
