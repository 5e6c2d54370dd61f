"""Text for a terminal."""

import csv
import io
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

WIDTH = 80
NO_BREAK = "\N{NO-BREAK SPACE}"


def aligned(rows: Sequence[Sequence[str]], left: int, gap: str = "  ") -> list[str]:
    """Lines with the cells of `rows`, one width per column: the first `left` columns flush left, the others right."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        spaces = [" " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            cell + space if column < left else space + cell
            for column, (cell, space) in enumerate(zip(row, spaces, strict=True))
        ]
        lines.append(gap.join(cells).rstrip())
    return lines


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese letter two, an accent that is a letter of its own none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def show(lines: Iterable[str]) -> None:
    """Print lines at once, also where the output is a file."""
    print("\n".join(lines), flush=True)


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    """A CSV file; names that are no UTF-8 keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")


def printable(text: str) -> str:
    """`text` with line breaks, control characters and bytes that are no UTF-8 written as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def wrapped(label: str, text: str) -> list[str]:
    """Lines of up to `WIDTH` columns: `text` to the right of `label`; what `NO_BREAK` joins stays on one line."""
    lines = textwrap.wrap(text, WIDTH - len(label), break_on_hyphens=False, break_long_words=False)
    return [(" " * len(label) if number else label) + line.replace(NO_BREAK, " ") for number, line in enumerate(lines)]
