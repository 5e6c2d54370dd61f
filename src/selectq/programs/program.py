"""Where the format of a program file is found by its ending, and files are opened."""

from pathlib import Path

from selectq.config.formats import FORMATS
from selectq.errors import UserError
from selectq.programs.format import Format, Program


def register(made: Format) -> Format:
    """Make a format known by its ending, in this process.

    Raises:
        UserError: the ending is taken.
    """
    registered: Format = FORMATS.register(made.ending, made)
    return registered


def find(ending: str) -> Format:
    """The format of an ending, without its dot; its code is loaded now, so that ONNX files need no torch.

    Raises:
        UserError: none is known.
    """
    found: Format = FORMATS.find(ending)
    return found


def endings() -> str:
    """All that are known, as messages list them."""
    return ", ".join(f".{ending}" for ending in FORMATS.names())


def format_of(path: Path) -> Format:
    """The format of a file that is there.

    Raises:
        UserError: the file is missing, or of no known format.
    """
    if path.suffix[1:] not in FORMATS.names():
        raise UserError(f"{path}: {path.suffix or 'no'} ending; a model file ends in {endings()}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return find(path.suffix[1:])


def open_program(path: Path) -> Program:
    """Open a program file of any format.

    Raises:
        UserError: the file is missing, of no known format, damaged, or no program of selectq's.
    """
    return format_of(path).open(path)
