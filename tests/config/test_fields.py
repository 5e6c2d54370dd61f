"""Config: a field's annotation is its contract."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from selectq.config.fields import Between, Config
from selectq.errors import UserError


@dataclass(frozen=True)
class Inner(Config):
    """A nested section."""

    flag: bool


@dataclass(frozen=True)
class Outer(Config):
    """One field of every kind."""

    count: Annotated[int, Between(1, 10)]
    share: Annotated[float, Between(0, 1)]
    choice: Literal["one", "two"]
    text: str
    optional: str | None
    several: tuple[Annotated[int, Between(0, 2)], ...]
    inner: Inner
    named: dict[str, Inner]
    one_or_more: int | dict[str, Annotated[int, Between(0, 2)]]


VALID = {
    "count": 3,
    "share": 0.5,
    "choice": "one",
    "text": "a",
    "optional": None,
    "several": [0, 1, 2],
    "inner": {"flag": True},
    "named": {"a": {"flag": False}},
    "one_or_more": {"a": 1, "b": 2},
}


def test_mapping_becomes_typed_fields() -> None:
    outer = Outer.from_mapping(VALID, "")
    assert outer == Outer(3, 0.5, "one", "a", None, (0, 1, 2), Inner(True), {"a": Inner(False)}, {"a": 1, "b": 2})


def test_whole_number_becomes_a_float_where_a_float_is_due() -> None:
    share = Outer.from_mapping({**VALID, "share": 1}, "").share
    assert isinstance(share, float) and share == 1.0


@pytest.mark.parametrize("bound", [1, 10])
def test_bounds_are_inclusive(bound: int) -> None:
    assert Outer.from_mapping({**VALID, "count": bound}, "").count == bound


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("count", 0, "count: 0 is out of range; allowed: 1 to 10"),
        ("count", 11, "count: 11 is out of range; allowed: 1 to 10"),
        ("count", 2.0, "count: 2.0 is not a whole number"),
        ("count", "2", "count: '2' is not a whole number"),
        ("count", True, "count: True is not a whole number"),
        ("count", None, "count: None is not a whole number"),
        ("share", float("nan"), "share: nan is out of range; allowed: 0 to 1"),
        ("share", float("inf"), "share: inf is out of range; allowed: 0 to 1"),
        ("share", False, "share: False is not a number"),
        ("share", "1e-3", "share: '1e-3' is not a number"),
        ("choice", "three", "choice: 'three' is not allowed; allowed: one, two"),
        ("choice", True, "choice: True is not allowed; allowed: one, two"),
        ("choice", ["one"], "choice: ['one'] is not allowed; allowed: one, two"),
        ("text", 5, "text: 5 is not text"),
        ("optional", 5, "optional: 5 is not text"),
        ("several", 5, "several: 5 is not a list"),
        ("several", "012", "several: '012' is not a list"),
        ("several", [0, 3], "several[1]: 3 is out of range; allowed: 0 to 2"),
        ("several", [0, None], "several[1]: None is not a whole number"),
        ("inner", 5, "inner: 5 is not a mapping; expected the keys ['flag']"),
        ("inner", {"flag": "yes"}, "inner.flag: 'yes' is not true or false"),
        ("inner", {"flag": 1}, "inner.flag: 1 is not true or false"),
        ("inner", {"flog": True}, "inner.flog: unknown key; allowed: flag"),
        ("inner", {}, "inner.flag: missing; every key is written out, there are no hidden defaults"),
        ("named", [], "named: [] is not a mapping of names to configurations"),
        ("named", {"a": None}, "named.a: None is not a mapping; expected the keys ['flag']"),
        ("named", {"a": {"flag": 0}}, "named.a.flag: 0 is not true or false"),
        ("one_or_more", None, "one_or_more: None is not a whole number"),
        ("one_or_more", [1], "one_or_more: [1] is not a whole number"),
        ("one_or_more", {"a": 3}, "one_or_more.a: 3 is out of range; allowed: 0 to 2"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(field: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        Outer.from_mapping({**VALID, field: value}, "section")
    assert str(error.value) == f"section.{message}"


def test_fields_are_checked_on_direct_construction_too() -> None:
    with pytest.raises(UserError, match=r"^flag: 1 is not true or false$"):
        Inner(flag=1)  # type: ignore[arg-type]
