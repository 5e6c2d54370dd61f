"""`selectq controls`: random scopes beside a configuration's, as entries of a profile."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from selectq.config.load import PARAMS_FILE, choose, read_yaml, validate
from selectq.networks.build import build_network
from selectq.quantization.controls import random_scopes

WIDTH = 110
"""Characters of a line; the last entry may stand out."""
CLASSES = 10
"""Of the network whose convolutions are counted: they do not depend on it."""


def run_controls(checkout: Path, names: Sequence[str], count: int, seed: int) -> None:
    """Print the entries that add controls to a profile.

    Args:
        checkout: whose `params.yaml` holds the configurations.
        names: of configurations under `qat`.
        count: how many controls of each.
        seed: of the first name's controls; every name starts from it anew.

    Raises:
        UserError: bad parameters, no such configuration, or no sets of its size.
    """
    path = checkout / PARAMS_FILE
    print(as_yaml(control_entries(read_yaml(path), str(path), names, count, seed)), end="")


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


def as_yaml(entries: Mapping[str, Any], width: int = WIDTH) -> str:
    """Entries as they stand in a profile: short lists and mappings on one line."""
    text: str = yaml.dump(dict(entries), Dumper=_Plain, sort_keys=False, default_flow_style=None, width=width)
    return text


class _Plain(yaml.SafeDumper):
    """Writes out what stands in several places: the parameters may hold no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
