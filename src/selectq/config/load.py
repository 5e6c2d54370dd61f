"""Reading `params.yaml`, and laying a profile over it."""

import re
from collections.abc import Hashable, Mapping
from decimal import Decimal
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from selectq.config.configs import Params
from selectq.errors import UserError

PARAMS_FILE = Path("params.yaml")

LARGEST = 2**63 - 1
"""Of the whole numbers in a YAML file: Python refuses to print one of thousands of digits, as a message would."""


DIFFERENT = {
    kind: re.compile(pattern)
    for kind, pattern in {
        "word": "yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF",
        "text": r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
        r"|[-+]_[0-9_]*|[-+]?\._[0-9_]*([eE][-+]?[0-9]+)?|[-+]?0o_+",
        "octal": "[-+]?0o_*[0-7][0-7_]*",
        "padded": "[-+]?0[0-9_]*[0-9]_*",
        "number": r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|([-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)[eE][0-9]+"
        r"|[-+]\.[0-9][0-9_]*([eE][-+]?[0-9]+)?",
    }.items()
}
"""What PyYAML (YAML 1.1) and DVC's reader (1.2) read differently, or one of them as text: `010` is 8 or 10."""


def _instead(text: str) -> str | None:
    """What to write for a value without quotes that DVC and the stages read differently; None if they agree."""
    kind = next((kind for kind, pattern in DIFFERENT.items() if pattern.fullmatch(text)), None)
    digits = text.replace("_", "")
    if kind == "word":
        return f'true or false, or "{text}" in quotes if it is text'
    if kind == "octal":
        return str(int(digits, 8))
    if kind == "padded":
        return str(int(digits))
    if kind == "number" and abs(Decimal(digits).adjusted()) < 20:
        return f"{Decimal(digits):f}"
    return f'one plain number, or "{text}" in quotes if it is text' if kind else None


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader (no tags that build objects) that refuses what is written twice, and what a few lines blow up.

    Refused are a key written twice, numbers beyond LARGEST, aliases (ten lines of them stand for gigabytes), and what
    DVC reads otherwise: it would not see that it changes.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            raise _refusal(f"alias *{alias.anchor} is not allowed; write the value out", alias.start_mark)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.style is None and (instead := _instead(node.value)):
            raise _refusal(
                f"{node.value} means one thing to DVC and another to the stages; write {instead}", node.start_mark
            )
        return node

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
        value = super().construct_yaml_int(node)
        if abs(value) > LARGEST:
            raise _refusal(f"a number beyond {LARGEST}", node.start_mark)
        return value


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


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

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _instead(text) else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def write_yaml(document: Mapping[str, Any]) -> str:
    """The text of a YAML file that DVC and `read_yaml` read alike."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False)


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
