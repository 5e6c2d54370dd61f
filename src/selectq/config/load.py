"""Reading `params.yaml`, and laying a profile over it."""

import re
from collections.abc import Hashable, Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import yaml

from selectq.config.configs import Params
from selectq.errors import UserError

PARAMS_FILE = Path("params.yaml")

LARGEST = 2**63 - 1
"""Of the whole numbers in a YAML file: Python refuses to print one of thousands of digits, as a message would."""


TAG = "tag:yaml.org,2002:"
PLAIN = {
    "bool": "true|True|TRUE|false|False|FALSE",
    "float": r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+([eE][-+][0-9]+)?"
    r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
    "int": "[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)",
}
"""What is no text in YAML 1.2, as DVC reads it; PyYAML alone reads 1.1, where `010` is 8, and `no` is false."""

BASES = {"0b": 2, "0o": 8, "0x": 16}


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader (no tags that build objects) that refuses what is written twice, and what a few lines blow up.

    Refused are a key written twice, numbers beyond LARGEST, and aliases (ten lines of them stand for gigabytes). What
    is no text is what DVC takes for none: it would not see what it reads otherwise change.
    """

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]
        first: [(tag, pattern) for tag, pattern in found if tag.removeprefix(TAG) not in PLAIN]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            raise _refusal(f"alias *{alias.anchor} is not allowed; write the value out", alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):  # what is not, is refused below
                if key in seen:
                    raise _refusal(f"key {key!r} is written twice", node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        digits = node.value.replace("_", "")
        value = int(digits, BASES.get(digits.lstrip("+-")[:2], 10))
        if abs(value) > LARGEST:
            raise _refusal(f"a number beyond {LARGEST}", node.start_mark)
        return value


_StrictLoader.add_constructor(f"{TAG}int", _StrictLoader.construct_yaml_int)


def _refusal(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not YAML, a repeated key, an object tag, an alias, or not a mapping.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: {getattr(error, 'problem', None) or 'not valid YAML'}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: {document!r:.60} is not a mapping of parameters")
    return document


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes out what is shared, and quotes texts that another reader would take for numbers."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


for kind, pattern in PLAIN.items():
    for class_ in (_StrictLoader, _Dumper):
        class_.add_implicit_resolver(TAG + kind, re.compile(f"({pattern})$"), [*"-+.0123456789tTfF"])


def write_yaml(document: Mapping[str, Any], **layout: Any) -> str:
    """The text of a YAML file that DVC and `read_yaml` read alike; `layout` is as PyYAML takes it."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, **layout)


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


_REMOVED: Mapping[str, Any] = MappingProxyType({})
"""Stands where a mapping was: removing it again changes nothing, and what is laid over it begins anew."""


def overlay(base: Mapping[str, Any], *profiles: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the profiles' values laid over it in turn, mapping by mapping; `null` for a mapping removes it."""
    return _without_removed(reduce(_laid_over, profiles, base))


def _laid_over(base: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in profile.items():
        if not isinstance(merged.get(key), Mapping):
            merged[key] = value
        elif value is None:
            merged[key] = _REMOVED
        else:
            merged[key] = _laid_over(merged[key], value) if isinstance(value, Mapping) else value
    return merged


def _without_removed(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_removed(value) if isinstance(value, Mapping) else value
        for key, value in document.items()
        if value is not _REMOVED
    }


def choose(configs: Mapping[str, Any], name: str, section: str) -> Any:
    """The configuration called `name`.

    Raises:
        UserError: there is none of that name in the section.
    """
    if name not in configs:
        raise UserError(f"--name {name}: no such configuration under {section}; allowed: {', '.join(configs)}")
    return configs[name]
