"""The report: one page of HTML that holds everything it shows, and begins with the verdict."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from selectq.tables import drift_map, error_charts, outcome_charts
from selectq.tables.cells import Column, Sheet
from selectq.tables.charts import Chart
from selectq.tables.evidence import Evidence
from selectq.tables.looks import MARKERS, Look, assign_looks
from selectq.tables.svg import WIDTH
from selectq.tables.tables import Table2Row
from selectq.tables.verdict import STANDINGS, Ranking, Verdict

TITLE = "Which layers must be retrained for INT8?"


@dataclass(frozen=True)
class ReportSheets:
    """The tables of the report."""

    table2: Sheet
    parity: Sheet
    bytes: Sheet
    environment: Sheet
    oscillation: Sheet
    audit: Sheet


@dataclass(frozen=True)
class Beside:
    """What the report shows beside the evidence of the configurations.

    Attributes:
        network: with its arguments.
        ranking: of the configurations.
        latency: as `latency_points` gives it.
        audit: as `audit_points` gives it.
        sweep_images: test images that the calibration sweep is measured on.
        commit: the code's, or empty.
    """

    network: str
    ranking: Ranking
    latency: pd.DataFrame
    audit: pd.DataFrame
    sweep_images: int
    commit: str


@dataclass(frozen=True)
class Section:
    """A part of the page, with the name of its link; without content it is left out."""

    name: str
    heading: str
    content: tuple[str, ...]


def render_report(
    verdict: Verdict, sheets: ReportSheets, rows: Sequence[Table2Row], evidence: Evidence, beside: Beside
) -> bytes:
    """The page as UTF-8, without reference to any other file.

    Args:
        verdict: stands first.
        sheets: the tables for readers.
        rows: of Table 2, for the charts.
        evidence: learning curves, drift, distributions and confusions, for the charts.
        beside: the rest.
    """
    sections = [section for section in _sections(sheets, rows, evidence, beside) if any(section.content)]
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=TITLE,
        lead=f"{escape(beside.network)} on {escape(evidence.fp32.data)}, setting {escape(rows[0].regime)}",
        verdict=_verdict(verdict, beside.ranking.recommended is not None),
        links="".join(f'<a href="#{section.name}">{section.name.capitalize()}</a>' for section in sections),
        markers="".join(f'<path id="m-{name}" d="{outline}"/>' for name, outline in MARKERS.items()),
        sections="\n".join(map(_section, sections)),
        provenance=f"Made by commit {escape(beside.commit)}." if beside.commit else "",
    ).encode()


def _sections(sheets: ReportSheets, rows: Sequence[Table2Row], evidence: Evidence, beside: Beside) -> list[Section]:
    order = [one.name for one in beside.ranking.configurations]
    looks = assign_looks(["fp32", *order])
    outcomes = [
        *(
            outcome_charts.gap_chart(gaps, order, beside.ranking.margin)
            for _, gaps in evidence.paired.groupby("reference", sort=False)
        ),
        outcome_charts.accuracy_chart(rows),
    ]
    training = [
        *outcome_charts.learning_charts(evidence.learning),
        *outcome_charts.calibration_charts(evidence.calibration, evidence.fp32.test_top1, beside.sweep_images),
    ]
    audit = (_charts([error_charts.audit_chart(beside.audit)]), _table(sheets.audit))
    oscillation = _table(sheets.oscillation, looks)
    if oscillation:
        oscillation = f"<h3>{escape(sheets.oscillation.title)}</h3>\n{oscillation}"
    speed = outcome_charts.latency_charts(beside.latency)
    return [
        Section(
            "configurations", "What each configuration achieves", (_table(sheets.table2, looks), _charts(outcomes))
        ),
        Section("training", "Training and calibration", (_charts(training), oscillation)),
        Section("error", "Where the error comes from", (_charts(_errors(evidence, beside.ranking)),)),
        Section("drift", "Drift by kind of layer and depth", (_charts(_drift_maps(evidence, beside.ranking)),)),
        Section("audit", sheets.audit.title, audit if len(beside.audit) > len(SOUND_AND_PAPER) else ()),
        Section("speed", "Speed of such programs", (LATENCY if speed else "", _charts(speed))),
        Section("backends", sheets.parity.title, (_table(sheets.parity, looks),)),
        Section("files", sheets.bytes.title, (_table(sheets.bytes, looks),)),
        Section("environment", sheets.environment.title, (_table(sheets.environment),)),
    ]


def _errors(evidence: Evidence, ranking: Ranking) -> list[Chart]:
    telling = worst_and_best(ranking)
    causes, histograms = (table[table["config"].isin(telling)] for table in (evidence.causes, evidence.histograms))
    confusion = evidence.confusion[evidence.confusion["config"] == telling[-1]]
    return [
        *error_charts.drift_charts(evidence.drift),
        *([error_charts.cause_chart(causes)] if len(causes) else []),
        *error_charts.range_charts(evidence.channel_ranges),
        *error_charts.histogram_charts(histograms),
        *([error_charts.confusion_chart(confusion)] if len(confusion) else []),
    ]


def _drift_maps(evidence: Evidence, ranking: Ranking) -> list[Chart]:
    return drift_map.drift_maps(evidence.drift, worst_and_best(ranking))


LATENCY = (
    '<p class="soft">Of the benchmark’s MobileNetV2 for 32 × 32 pixels, not of this run’s network: speed does not'
    " depend on the weights. The marker tells the scheme of the activations; stride_1 has four times the pixels.</p>"
)


def worst_and_best(ranking: Ranking) -> list[str]:
    """The configuration of the lowest accuracy, and the recommended one or else that of the highest.

    What takes a panel for each configuration is shown of these alone; `dvc plots show` has them all.
    """
    ordered = sorted(ranking.gaps, key=lambda name: ranking.gaps[name].points)
    best = ranking.recommended.name if ranking.recommended else ordered[-1]
    return list(dict.fromkeys([ordered[0], best]))


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


def _section(section: Section) -> str:
    content = "\n".join(section.content)
    return f'<section id="{section.name}">\n<h2>{escape(section.heading)}</h2>\n{content}\n</section>'


NO_LOOKS: Mapping[str, Look] = {}


def _table(sheet: Sheet, looks: Mapping[str, Look] = NO_LOOKS) -> str:
    if not sheet.rows:
        return ""
    heading = "".join(f'<th scope="col"{_css(column)}>{escape(column.heading)}</th>' for column in sheet.columns)
    rows = "\n".join(_row(sheet.columns, cells, place == sheet.marked, looks) for place, cells in enumerate(sheet.rows))
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(sheet.title)}"><table>\n'
        f"<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n"
        f'<ul class="notes">{notes}</ul>'
    )


def _row(columns: Sequence[Column], cells: Sequence[str], marked: bool, looks: Mapping[str, Look]) -> str:
    key = _key(looks[cells[0]]) if cells[0] in looks else ""
    name = escape(cells[0]).replace("_", "_<wbr>")
    row = f'<tr{" class=marked" if marked else ""}><th scope="row"{_css(columns[0])}>{key}{name}</th>'
    rest = zip(columns[1:], cells[1:], strict=True)
    return row + "".join(f"<td{_css(column, cell)}>{_cell(cell)}</td>" for column, cell in rest) + "</tr>"


LONG_TEXT = 30
"""Characters from which on a cell needs room, on a phone too."""


def _cell(cell: str) -> str:
    """What it says; how a configuration stands to FP32 has a colour as well."""
    standing = cell.partition(" (")[0]
    if standing in STANDINGS.values():
        return f'<span class="{standing.replace(" ", "-")}">{cell}</span>'
    return escape(NEVER_BROKEN.sub("\u00a0", cell))


NEVER_BROKEN = re.compile(r" (?=[%kM])|(?<=,) (?=[+−]?\d)")
"""The space between a number and its unit, or between the ends of an interval."""


CLASSES = {"text": "", "number": ' class="number"', "paper": ' class="number paper"'}


def _css(column: Column, cell: str = "") -> str:
    return ' class="words"' if column.content == "text" and len(cell) > LONG_TEXT else CLASSES[column.content]


SOUND_AND_PAPER = ("the sound experiment", "the paper")
"""What an audit without flaws has to show."""

MOST_COLUMNS = 3


def _charts(shown: Sequence[Chart]) -> str:
    """Charts beside each other; four make two columns, so that no half is empty."""
    columns = 2 if len(shown) == 4 else min(MOST_COLUMNS, len(shown))
    drawn = "\n".join(map(_figure, shown))
    return f'<div class="charts" style="--columns:{columns}">\n{drawn}\n</div>' if drawn else ""


def _figure(chart: Chart) -> str:
    heading = escape(chart.heading)
    keys = "".join(
        f'<li data-name="{escape(name)}">{_key(look)}{escape(name)}</li>' for name, look in chart.legend.items()
    )
    return (
        f"<figure>\n<h3>{heading}</h3>\n"
        f'<svg viewBox="0 0 {WIDTH} {chart.height:.0f}" role="img" aria-label="{heading}. {escape(chart.seen)}">'
        f"{''.join(chart.elements)}</svg>\n"
        + (f'<ul class="legend">{keys}</ul>\n' if keys else "")
        + f"<figcaption>{_inline(chart.seen)} {_inline(chart.caption)}</figcaption>\n</figure>"
    )


def _key(look: Look) -> str:
    return (
        '<svg class="key" viewBox="-1.5 -1.5 3 3" aria-hidden="true">'
        f'<use href="#m-{look.marker}" fill="{look.colour}"/></svg>'
    )
