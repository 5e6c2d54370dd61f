"""Functions as commands: what their parameters and docstrings make of the command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from selectq.cli.main import COMMANDS, command_parser
from selectq.command import Positive, add_arguments


def some(
    checkout: Path,
    files: Sequence[Path],
    *,
    name: str,
    jobs: Positive | None = None,
    width: Literal[4, 8] = 8,
    skip_bad: bool = False,
    input_: Sequence[Positive] = (1,),
) -> None:
    """Do something.

    Args:
        checkout: is found.
        files (FILE): what is read: any
            number of files
        name: of it (a word)
        jobs (N): at a time
        width: of all
        skip_bad: or not
        input_ (N): and more
    """


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="some")
    add_arguments(parser, some)
    return parser


def test_values_are_of_the_annotated_types(parser: argparse.ArgumentParser) -> None:
    words = ["a", "b", "--name", "c", "--jobs", "2", "--width", "4", "--skip-bad", "--input", "3", "5"]
    assert vars(parser.parse_args(words)) == {
        "files": [Path("a"), Path("b")],
        "name": "c",
        "jobs": 2,
        "width": 4,
        "skip_bad": True,
        "input_": [3, 5],
    }


def test_defaults_are_the_function_s(parser: argparse.ArgumentParser) -> None:
    assert vars(parser.parse_args(["a", "--name", "c"])) == {
        "files": [Path("a")],
        "name": "c",
        "jobs": None,
        "width": 8,
        "skip_bad": False,
        "input_": (1,),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: FILE, --name"),
        (["--name", "c"], "the following arguments are required: FILE"),
        (["a"], "the following arguments are required: --name"),
        (["a", "--name", "c", "--jobs", "0"], "argument --jobs: '0' is not a whole number of at least 1"),
        (["a", "--name", "c", "--width", "5"], "argument --width: invalid choice: 5"),
    ],
)
def test_what_does_not_fit_is_refused(
    words: list[str], message: str, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert message in capsys.readouterr().err


def test_docstring_is_the_help(parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    assert "[--jobs N] [--width {4,8}] [--skip-bad] [--input N [N ...]]" in " ".join(text.split())
    assert "what is read: any number of files" in " ".join(text.split())
    assert "--name NAME" in text and "of it (a word)" in text and "checkout" not in text


def test_command_that_is_not_asked_for_is_known_and_not_loaded() -> None:
    parser = command_parser(["inspect"])
    assert parser.parse_args(["inspect", "a.onnx"]).function.__name__ == "run_inspect"
    assert "function" not in parser.parse_args(["share"])
    assert all(f"    {command.name} " in f"{parser.format_help()} ".replace("\n", " ") for command in COMMANDS)
