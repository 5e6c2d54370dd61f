"""Where the format of a program file is found by its ending, and files are opened."""

from importlib import import_module
from pathlib import Path

from selectq.config.formats import OWN, known_formats, offered, registered
from selectq.errors import UserError
from selectq.programs.format import Format, Program

_formats: dict[str, Format] = {}


def register(made: Format) -> Format:
    """Make a format known by its ending, in this process.

    Raises:
        UserError: the ending is taken.
    """
    if made.ending in _formats or made.ending in offered():
        raise UserError(f"formats: {made.ending!r} is taken by another format")
    _formats[made.ending] = made
    if made.ending not in OWN:
        registered.append(made.ending)
    return made


def find(ending: str) -> Format:
    """The format of an ending, without its dot; its code is loaded now, so that ONNX files need no torch.

    Raises:
        UserError: none is known.
    """
    if ending in OWN and ending not in _formats:
        import_module(f"selectq.export.{ending}")  # registers it
    elif ending in offered():
        made: Format = offered()[ending].load()()
        return made
    if ending not in _formats:
        raise UserError(f"formats: {ending!r} is no format; allowed: {', '.join(known_formats())}")
    return _formats[ending]


def endings() -> str:
    """All that are known, as messages list them."""
    return ", ".join(f".{ending}" for ending in known_formats())


def format_of(path: Path) -> Format:
    """The format of a file that is there.

    Raises:
        UserError: the file is missing, or of no known format.
    """
    if path.suffix[1:] not in known_formats():
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
