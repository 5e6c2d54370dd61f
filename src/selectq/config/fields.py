"""Dataclasses that check their own fields, and build themselves from YAML mappings.

A field's annotation is its contract: a plain type, a `Literal`, an optional, a tuple, a nested
`Config`, `Annotated[number, Between(low, high)]`, a mapping, or one of these or a mapping.
"""

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from selectq.errors import UserError


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both inclusive."""

    low: float
    high: float


class Config:
    """Base of the parameter dataclasses: validates every field on construction.

    Raises:
        UserError: a field's value is not what its annotation allows.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            _check(hint, getattr(self, name), name)

    @classmethod
    def from_mapping(cls, value: Any, key: str) -> Self:
        """Build the config found at `key` (dotted, for messages) of a YAML document.

        Raises:
            UserError: not a mapping, an unknown or missing key, or a value out of its range.
        """
        if not isinstance(value, Mapping):
            raise UserError(f"{key}: {value!r} is not a mapping; expected the keys {_names(cls)}")
        for name in value:
            if name not in _names(cls):
                raise UserError(f"{_join(key, name)}: unknown key; allowed: {', '.join(_names(cls))}")
        hints = get_type_hints(cls, include_extras=True)
        for name in _names(cls):
            if name not in value:
                raise UserError(f"{_join(key, name)}: missing; every key is written out, there are no hidden defaults")
        built = {name: _build(hints[name], value[name], _join(key, name)) for name in _names(cls)}
        try:
            return cls(**built)
        except UserError as error:
            raise UserError(_join(key, str(error))) from None


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _join(key: str, rest: str) -> str:
    return f"{key}.{rest}" if key else rest


def _build(hint: Any, value: Any, key: str) -> Any:
    """Turn a YAML value into what `hint` describes; leaves are checked by the owning config."""
    if isinstance(hint, type) and issubclass(hint, Config):
        return hint.from_mapping(value, key)
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{key}: {value!r} is not a mapping of names to configurations")
        return {name: _build(get_args(hint)[1], item, _join(key, str(name))) for name, item in value.items()}
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_number(get_args(hint)[0], item) for item in value)
    return _number(hint, value)


def _number(hint: Any, value: Any) -> Any:
    """YAML's 1 where a float is asked for is 1.0."""
    if _plain(hint) is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _check(hint: Any, value: Any, name: str) -> None:
    """Raise a UserError naming the field, the value and what is allowed, unless `value` fits `hint`."""
    if get_origin(hint) is Annotated:
        kind, bounds = get_args(hint)
        _check(kind, value, name)
        if not bounds.low <= value <= bounds.high:  # also refuses nan
            raise UserError(f"{name}: {value!r} is out of range; allowed: {bounds.low} to {bounds.high}")
    elif get_origin(hint) is Literal:
        if not any(value == allowed and type(value) is type(allowed) for allowed in get_args(hint)):  # 1 == True
            raise UserError(f"{name}: {value!r} is not allowed; allowed: {', '.join(map(str, get_args(hint)))}")
    elif get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            raise UserError(f"{name}: {value!r} is not a list")
        for index, item in enumerate(value):
            _check(get_args(hint)[0], item, f"{name}[{index}]")
    elif get_origin(hint) in (Union, types.UnionType):
        _check_alternatives(get_args(hint), value, name)
    elif get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{name}: {value!r} is not a mapping")
    else:
        _check_type(hint, value, name)


def _check_alternatives(hints: tuple[Any, ...], value: Any, name: str) -> None:
    """Of a union: None or a mapping of leaves, where they may be, and otherwise what is named first."""
    mappings = [hint for hint in hints if get_origin(hint) is dict]
    if mappings and isinstance(value, dict):
        for key, item in value.items():
            _check(get_args(mappings[0])[1], item, f"{name}.{key}")
    elif value is not None or type(None) not in hints:
        _check(hints[0], value, name)


def _check_type(kind: type, value: Any, name: str) -> None:
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return
    raise UserError(f"{name}: {value!r} is not {_PLAIN_WORDS.get(kind, kind.__name__)}")


_PLAIN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
