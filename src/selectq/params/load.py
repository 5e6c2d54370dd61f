"""Reading `params.yaml`, and laying a profile over it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from selectq.errors import UserError
from selectq.params.configs import Params

PARAMS_FILE = Path("params.yaml")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader (no tags that build objects) that refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not YAML, a repeated key, an object tag, or not a mapping.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: {getattr(error, 'problem', None) or 'not valid YAML'}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: {document!r:.60} is not a mapping of parameters")
    return document


def load_params(path: Path = PARAMS_FILE) -> Params:
    """The validated parameters of a file.

    Raises:
        UserError: the first thing that is wrong: key, value, what is allowed.
    """
    return validate(read_yaml(path), str(path))


def validate(document: dict[str, Any], origin: str) -> Params:
    """Validate a whole parameter document; `origin` opens the message of the UserError it may raise."""
    try:
        return Params.from_mapping(document, "")
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None


def overlay(base: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with a profile's values laid over it, mapping by mapping; `null` for a mapping removes it."""
    merged = dict(base)
    for key, value in profile.items():
        if value is None and isinstance(merged.get(key), Mapping):
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = value
    return merged


def choose(configs: Mapping[str, Any], name: str, section: str) -> Any:
    """The configuration called `name`.

    Raises:
        UserError: there is none of that name in the section.
    """
    if name not in configs:
        raise UserError(f"--name {name}: no such configuration under {section}; allowed: {', '.join(configs)}")
    return configs[name]
