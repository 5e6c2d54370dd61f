"""`selectq controls`: random scopes beside a configuration's, as entries of a profile."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selectq.command import Positive
from selectq.config.load import PARAMS_FILE, choose, read_yaml, validate, write_yaml
from selectq.networks.build import build_network
from selectq.quantization.controls import random_scopes

WIDTH = 110
"""Characters of a line; the last entry may stand out."""
CLASSES = 10
"""Of the network whose convolutions are counted: they do not depend on it."""


def run_controls(checkout: Path, names: Sequence[str], *, count: Positive = 3, seed: int = 0) -> None:
    """Print the entries that add controls to a profile.

    Args:
        checkout: whose `params.yaml` holds the configurations.
        names (NAME): a configuration under qat in params.yaml
        count (N): controls of each (default 3)
        seed (N): of the random choice, for every name anew (default 0)

    Raises:
        UserError: bad parameters, no such configuration, or no sets of its size.
    """
    path = checkout / PARAMS_FILE
    entries = control_entries(read_yaml(path), str(path), names, count, seed)
    print(write_yaml(entries, default_flow_style=None, width=WIDTH), end="")


def control_entries(
    document: Mapping[str, Any], origin: str, names: Sequence[str], count: int, seed: int
) -> dict[str, Any]:
    """The sections `qat` and `convert` of a profile that adds controls to the parameters in `document`.

    A control called `NAME_random1` differs from its original in its scope alone.
    """
    params = validate(dict(document), origin)
    model, entries = build_network(params.model, CLASSES), dict[str, Any]()
    for name in names:
        original = choose(params.qat, name, "qat")
        for number, scope in enumerate(random_scopes(model, original.scope, count, seed), start=1):
            entries[f"{name}_random{number}"] = {**document["qat"][name], "scope": list(scope)}
    return {"qat": entries, "convert": [*params.convert, *entries]}
