"""Markdown that also reads well as plain text."""

import textwrap
from collections.abc import Iterable, Sequence

from selectq.report.formatting import Column, Table

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


def to_markdown(table: Table) -> str:
    """A Markdown document whose table is also aligned for a terminal."""
    lines = markdown_table(table.columns, table.rows)
    return "\n".join([f"# {table.title}", "", *lines, "", *(f"- {note}" for note in table.notes), ""])


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, aligned for a terminal; a cell may hold what would end it."""
    cells = [tuple(cell.replace("|", r"\|") for cell in row) for row in ([one.heading for one in columns], *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [column.content == "text" for column in columns]
    rule = ["-" * width if flush else "-" * (width - 1) + ":" for width, flush in zip(widths, left, strict=True)]
    padded = (
        [
            cell.ljust(width) if flush else cell.rjust(width)
            for cell, width, flush in zip(row, widths, left, strict=True)
        ]
        for row in (cells[0], rule, *cells[1:])
    )
    return [f"| {' | '.join(row)} |" for row in padded]
