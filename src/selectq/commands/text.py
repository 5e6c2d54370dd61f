"""Text for a terminal."""

import textwrap
from collections.abc import Sequence

WIDTH = 80
NO_BREAK = "\N{NO-BREAK SPACE}"


def aligned(rows: Sequence[Sequence[str]], left: int, gap: str = "  ") -> list[str]:
    """Lines with the cells of `rows`, one width per column: the first `left` columns flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """`text` with line breaks, control characters and bytes that are no UTF-8 written as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def wrapped(label: str, text: str) -> list[str]:
    """Lines of up to `WIDTH` columns: `text` to the right of `label`; what `NO_BREAK` joins stays on one line."""
    lines = textwrap.wrap(text, WIDTH - len(label), break_on_hyphens=False, break_long_words=False)
    return [(" " * len(label) if number else label) + line.replace(NO_BREAK, " ") for number, line in enumerate(lines)]
