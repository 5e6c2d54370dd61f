"""Reading YAML strictly, and laying profiles over it."""

from datetime import date
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML, YAMLError

from selectq.config.load import choose, load_params, overlay, read_yaml, write_yaml
from selectq.errors import UserError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", " line 3: key 'c' is written twice"),
        ("a: 1\na: 1\n", " line 1: key 'a' is written twice"),
        ("a: !!python/object/apply:os.system [ls]\n", " line 1: could not determine a constructor for the tag 'tag:"),
        ("a: !!python/name:os.system\n", " line 1: could not determine a constructor for the tag 'tag:"),
        ("a: [1, 2\n", " line 2: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2\n", " line 2: found character '\\t' that cannot start any token"),
        ("a: 2001-99-99\n", ": not valid YAML"),
        ("[a]: 1\n", " line 1: found unhashable key"),
        ("a: &a [1]\nb: *a\n", " line 2: alias *a is not allowed; write the value out"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", " line 2: alias *a is not allowed; write the value out"),
        ("a: &a [*a]\n", " line 1: alias *a is not allowed; write the value out"),
        ("a: 0x" + "f" * 5000 + "\n", " line 1: a number beyond 9223372036854775807"),
        ("a: " + "[" * 5000 + "]" * 5000 + "\n", ": nested too deeply"),
        ("", ": None is not a mapping of parameters"),
        ("- seed\n", ": ['seed'] is not a mapping of parameters"),
        ("seed\n", ": 'seed' is not a mapping of parameters"),
    ],
)
def test_bad_yaml_is_one_line_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


SCALARS = st.text(alphabet="0123456789.+-eE_:oxb", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("written", "read"),
    [("010", 10), ("0o10", 8), ("-0x1F", -31), ("0b11", 3), ("1_0", 10), ("1e-3", 0.001), ("-.5", -0.5), ("1e400", inf)]
    + [(text, text) for text in ("1:30", "yes", "No", "OFF", "_1")]
    + [("TRUE", True), ("2001-01-01", date(2001, 1, 1)), ("Null", None)],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, written: str, read: object) -> None:
    (tmp_path / "scalar.yaml").write_text(f"a: {written}\n")
    found = read_yaml(tmp_path / "scalar.yaml")
    assert repr(found) == repr({"a": read}) == repr(YAML(typ="safe").load(f"a: {written}\n"))


@given(written=SCALARS)
def test_what_is_read_is_what_dvc_reads(tmp_path_factory: pytest.TempPathFactory, written: str) -> None:
    path = tmp_path_factory.getbasetemp() / "scalar.yaml"
    path.write_text(f"a: {written}\n")
    try:
        expected = YAML(typ="safe").load(path.read_text())
    except (YAMLError, ValueError, IndexError):
        expected = None
    try:
        ours = read_yaml(path)
    except UserError:
        ours = None
    assert repr(ours) == repr(expected)


@given(text=SCALARS | st.text(max_size=8))
def test_what_is_written_all_read_alike(text: str) -> None:
    shared = {"text": text, "small": 1e-05}
    document = {"one": shared, "two": shared}
    written = write_yaml(document)
    assert yaml.safe_load(written) == YAML(typ="safe").load(written) == document


BILLION_LAUGHS = "- &0 [lol]\n" + "".join(f"- &{n + 1} [{', '.join([f'*{n}'] * 10)}]\n" for n in range(12))
"""A list of 10^12 words, if it were written out, as a message would."""


@pytest.mark.timeout(20)
def test_billion_laughs(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(BILLION_LAUGHS)
    with pytest.raises(UserError, match=r" line 2: alias \*0 is not allowed; write the value out$"):
        load_params(tmp_path / "params.yaml")


def test_anchors_alone_are_harmless(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: &a [9223372036854775807]\n")
    assert read_yaml(tmp_path / "params.yaml") == {"a": [9223372036854775807]}


@pytest.mark.timeout(40)
def test_many_keys_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("".join(f"k{number}: 1\n" for number in range(20_000)))
    assert len(read_yaml(tmp_path / "params.yaml")) == 20_000


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(UserError, match=r": not valid YAML$"):
        read_yaml(tmp_path / "params.yaml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read \(No such file or directory\)$"):
        load_params(tmp_path / "params.yaml")


BASE: dict[str, Any] = {"seed": 0, "qat": {"dw": {"lr": 0.1, "scope": ["depthwise"]}, "clf": {"lr": 0.2}}}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({}, BASE),
        ({"seed": 1}, BASE | {"seed": 1}),
        ({"qat": {"clf": {"lr": 0.3}}}, BASE | {"qat": {"dw": BASE["qat"]["dw"], "clf": {"lr": 0.3}}}),
        ({"qat": {"clf": None}}, BASE | {"qat": {"dw": BASE["qat"]["dw"]}}),
        ({"qat": {"new": {"lr": 1}}}, BASE | {"qat": BASE["qat"] | {"new": {"lr": 1}}}),
        ({"seed": None}, BASE | {"seed": None}),
        ({"qat": {"dw": {"scope": ["all"]}}}, BASE | {"qat": BASE["qat"] | {"dw": {"lr": 0.1, "scope": ["all"]}}}),
    ],
    ids=["nothing", "value", "nested", "null-removes", "added", "null-value", "list-replaced"],
)
def test_overlay(profile: dict[str, Any], expected: dict[str, Any]) -> None:
    before = str(BASE)
    assert overlay(BASE, profile) == expected
    assert str(BASE) == before


def test_profiles_are_laid_in_turn() -> None:
    new = {"lr": 0.5}
    assert overlay(BASE, {"qat": {"clf": None}}, {"qat": {"clf": None}}) == overlay(BASE, {"qat": {"clf": None}})
    assert overlay(BASE, {"qat": {"clf": None}}, {"qat": {"clf": new}})["qat"]["clf"] == new
    assert overlay(BASE, {"qat": {"dw": None}}, {"qat": {"dw": new}})["qat"]["dw"] == new  # nothing of the old one
    assert overlay(BASE, {"qat": {"dv": None}})["qat"]["dv"] is None  # never there: for the validation to refuse


def test_overlay_keeps_the_order_of_the_base() -> None:
    assert list(overlay({"b": 1, "a": 2}, {"a": 3, "c": 4})) == ["b", "a", "c"]


def test_choose_names_what_there_is() -> None:
    assert choose({"dw": 1, "clf": 2}, "dw", "qat") == 1
    with pytest.raises(UserError, match=r"^--name dv: no such configuration under qat; allowed: dw, clf$"):
        choose({"dw": 1, "clf": 2}, "dv", "qat")
