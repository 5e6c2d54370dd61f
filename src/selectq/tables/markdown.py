"""Markdown that also reads well as plain text."""

import textwrap
from collections.abc import Sequence

from selectq.tables.cells import Column, Sheet

WIDTH = 110
"""Characters of a line of prose."""


def prose(text: str) -> list[str]:
    """The lines of a paragraph."""
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullet(text: str) -> list[str]:
    """The lines of one entry of a list."""
    first, *rest = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def rewrapped(text: str) -> str:
    """A document whose paragraphs and bullets are broken into lines anew; headings and tables stay."""
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        whole = not line or line.startswith(("|", "#"))
        if paragraph and (whole or line.startswith("- ")):
            joined, paragraph = " ".join(paragraph), []
            lines += bullet(joined[2:]) if joined.startswith("- ") else prose(joined)
        if whole:
            lines.append(line)
        else:
            paragraph.append(line.strip())
    return "\n".join(lines)


def code(language: str, lines: Sequence[str]) -> list[str]:
    """Lines that are shown as they are."""
    return [f"```{language}", *lines, "```"]


def to_markdown(sheet: Sheet) -> str:
    """A Markdown document whose table is also aligned for a terminal."""
    table = markdown_table(sheet.columns, sheet.rows)
    return "\n".join([f"# {sheet.title}", "", *table, "", *(f"- {note}" for note in sheet.notes), ""])


def markdown_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, aligned for a terminal."""
    table = [tuple(column.heading for column in columns), *(tuple(map(_escaped, cells)) for cells in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    rules = tuple(
        "-" * width if column.content == "text" else "-" * (width - 1) + ":"
        for column, width in zip(columns, widths, strict=True)
    )
    return [_markdown_row(cells, widths, columns) for cells in (table[0], rules, *table[1:])]


def _escaped(cell: str) -> str:
    """A cell in which what would end it does not, such as in a class's name."""
    return cell.replace("|", r"\|")


def _markdown_row(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = [
        cell.ljust(width) if column.content == "text" else cell.rjust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return f"| {' | '.join(padded)} |"
