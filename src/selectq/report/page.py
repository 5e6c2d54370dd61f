"""The report: one page of HTML that holds everything it shows, and begins with the verdict."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template

from selectq.report.figures import Figure
from selectq.report.formatting import Column, Table
from selectq.report.looks import MARKERS, Look, assign_looks
from selectq.report.vega import draw
from selectq.report.verdict import STANDINGS, Verdict

TITLE = "Which layers must be retrained for INT8?"


Content = Sequence[Table | Figure | str]


@dataclass(frozen=True)
class Section:
    """A part of the page, with the name of its link; without content it is left out."""

    name: str
    heading: str
    content: Content


@dataclass(frozen=True)
class Report:
    """All that the page says; `lead` is what was run, `found` whether the verdict recommends a configuration."""

    lead: str
    verdict: Verdict
    found: bool
    configs: Sequence[str]
    sections: Sequence[Section]
    commit: str


def render_report(report: Report) -> bytes:
    """The page as UTF-8, without reference to any other file."""
    looks = assign_looks(["fp32", *report.configs])
    shown = [(section, content) for section in report.sections if (content := _content(section, looks))]
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=TITLE,
        lead=escape(report.lead),
        verdict=_verdict(report.verdict, report.found),
        links="".join(f'<a href="#{section.name}">{section.name.capitalize()}</a>' for section, _ in shown),
        markers="".join(f'<path id="m-{name}" d="{outline}"/>' for name, outline in MARKERS.items()),
        sections="\n".join(
            f'<section id="{section.name}">\n<h2>{escape(section.heading)}</h2>\n{content}\n</section>'
            for section, content in shown
        ),
        provenance=f"Made by commit {escape(report.commit)}." if report.commit else "",
    ).encode()


def commit_of(folder: Path) -> str:
    """The commit checked out in a folder, in short, and whether the code was changed since; empty without git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ":/src", ":/stages"], cwd=folder, check=False)
    return found.stdout.strip() + (" and changes" if changed.returncode else "")


def _verdict(verdict: Verdict, found: bool) -> str:
    limits = "".join(f"<li>{_inline(limit)}</li>" for limit in verdict.not_shown)
    return (
        f'<section class="verdict {"found" if found else "open"}" aria-label="Verdict"><p>{_inline(verdict.answer)}</p>'
        f"<p>{_inline(verdict.evidence[0].upper() + verdict.evidence[1:])}</p>"
        f"<p>Not shown:</p><ul>{limits}</ul></section>"
    )


def _inline(text: str) -> str:
    """Markdown's bold and code as HTML."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _content(section: Section, looks: Mapping[str, Look]) -> str:
    """Words, tables, and figures beside each other, in their order; words alone are nothing."""
    parts = [part for part in section.content if not (isinstance(part, Table) and not part.rows)]
    if all(isinstance(part, str) for part in parts):
        return ""
    written = []
    for kind, of_kind in groupby(parts, type):
        if kind is Figure:
            written.append(_charts([part for part in of_kind if isinstance(part, Figure)]))
        else:
            written += [_table(part, section, looks) if isinstance(part, Table) else _words(part) for part in of_kind]
    return "\n".join(written)


def _charts(figures: Sequence[Figure]) -> str:
    """Figures beside each other; four make two columns, so that no half is empty."""
    columns = 2 if len(figures) == 4 else min(MOST_COLUMNS, len(figures))
    drawn = "\n".join(map(_figure, figures))
    return f'<div class="charts" style="--columns:{columns}">\n{drawn}\n</div>'


MOST_COLUMNS = 3


def _words(text: str | Figure) -> str:
    return f'<p class="soft">{text}</p>'


def _figure(figure: Figure) -> str:
    heading = escape(figure.heading)
    alternative = f'role="img" aria-label="{heading}. {escape(figure.seen)}"'
    drawn = draw(figure.template, figure.rows).replace("<svg ", f"<svg {alternative} ", 1)
    words = f"{_inline(figure.seen)} {_inline(figure.caption)}"
    return f"<figure>\n<h3>{heading}</h3>\n{drawn}\n<figcaption>{words}</figcaption>\n</figure>"


def _table(table: Table, section: Section, looks: Mapping[str, Look]) -> str:
    heading = "".join(f'<th scope="col"{_css(column)}>{escape(column.heading)}</th>' for column in table.columns)
    rows = "\n".join(_row(table.columns, row, place == table.marked, looks) for place, row in enumerate(table.rows))
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    title = "" if table.title == section.heading else f"<h3>{escape(table.title)}</h3>\n"
    return (
        f'{title}<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>\n'
        f"<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n"
        f'<ul class="notes">{notes}</ul>'
    )


def _row(columns: Sequence[Column], cells: Sequence[str], marked: bool, looks: Mapping[str, Look]) -> str:
    key = _key(looks[cells[0]]) if cells[0] in looks else ""
    name = escape(cells[0]).replace("_", "_<wbr>")
    row = f'<tr{" class=marked" if marked else ""}><th scope="row"{_css(columns[0])}>{key}{name}</th>'
    rest = zip(columns[1:], cells[1:], strict=True)
    return row + "".join(f"<td{_css(column, cell)}>{_cell(cell)}</td>" for column, cell in rest) + "</tr>"


def _key(look: Look) -> str:
    return (
        '<svg class="key" viewBox="-1.5 -1.5 3 3" aria-hidden="true">'
        f'<use href="#m-{look.marker}" fill="{look.colour}"/></svg>'
    )


def _cell(cell: str) -> str:
    """What it says; how a configuration stands to FP32 has a colour as well."""
    standing = cell.partition(" (")[0]
    if standing in STANDINGS.values():
        return f'<span class="{standing.replace(" ", "-")}">{cell}</span>'
    return escape(NEVER_BROKEN.sub("\u00a0", cell))


NEVER_BROKEN = re.compile(r" (?=[%kM])|(?<=,) (?=[+−]?\d)")
"""The space between a number and its unit, or between the ends of an interval."""

LONG_TEXT = 30
"""Characters from which on a cell needs room, on a phone too."""

CLASSES = {"text": "", "number": ' class="number"', "paper": ' class="number paper"'}


def _css(column: Column, cell: str = "") -> str:
    return ' class="words"' if column.content == "text" and len(cell) > LONG_TEXT else CLASSES[column.content]
