"""The report: one page of HTML that holds everything it shows, tables and pictures."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from selectq.tables import figures
from selectq.tables.cells import NOTHING, Column, Sheet, percent
from selectq.tables.charts import assign_looks, to_svg
from selectq.tables.evidence import Evidence
from selectq.tables.figures import ReportFigure
from selectq.tables.tables import Table2Row

TITLE = "Which layers must be retrained for INT8?"


@dataclass(frozen=True)
class ReportSheets:
    """The tables of the report."""

    table1: Sheet
    table2: Sheet
    parity: Sheet
    bytes: Sheet
    environment: Sheet
    oscillation: Sheet
    audit: Sheet


@dataclass(frozen=True)
class Beside:
    """What pictures show beside the evidence of the configurations.

    Attributes:
        latency: as `latency_points` gives it.
        audit: as `audit_points` gives it.
        margin_points: the loss from which on a configuration counts as inferior.
    """

    latency: pd.DataFrame
    audit: pd.DataFrame
    margin_points: float


def render_report(sheets: ReportSheets, rows: Sequence[Table2Row], evidence: Evidence, beside: Beside) -> bytes:
    """The page as UTF-8, without reference to any other file.

    Args:
        sheets: the tables for readers.
        rows: the rows of Table 2, for the pictures.
        evidence: learning curves, drift, distributions and confusion, for the pictures.
        latency: as `latency_points` gives it.
        beside: the rest, for the pictures.
    """
    looks = assign_looks(row.config for row in rows if row.int8_top1 is not None)
    telling = figures.worst_and_best(rows)
    histograms = evidence.histograms[evidence.histograms["config"].isin(telling)]
    confusion = evidence.confusion[evidence.confusion["config"].isin(telling)]
    distributions = figures.distribution_figures(evidence.channel_ranges, histograms, looks)
    headline = figures.accuracy_figures(rows, looks) + figures.gap_figures(evidence.paired, looks, beside.margin_points)
    sections = [
        _section(sheets.table2.title, _table(sheets.table2), _figures(headline)),
        _section(sheets.table1.title, _table(sheets.table1)),
        _section(sheets.parity.title, _table(sheets.parity)),
        _section(sheets.bytes.title, _table(sheets.bytes)),
        _section("Calibration", _figures(figures.calibration_figures(evidence.calibration, evidence.fp32.test_top1))),
        _section("Latency", _figures(figures.latency_figures(beside.latency))),
        _section("Learning curves", _figures(figures.learning_figures(evidence.learning, looks))),
        _section(
            "Drift: where quantization changes the activations",
            DRIFT,
            _figures(figures.drift_figures(evidence.drift, looks)),
        ),
        _section("Causes: where the error comes from", CAUSES, _figures(figures.cause_figures(evidence.causes, looks))),
        _section(sheets.oscillation.title, _table(sheets.oscillation)),
        _section("What the quantizers see", _figures(distributions)),
        _section(sheets.audit.title, _figures(figures.audit_figures(beside.audit)), _table(sheets.audit)),
        _section("What the programs confuse", _figures(figures.confusion_figures(confusion))),
        _section(sheets.environment.title, _table(sheets.environment)),
    ]
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=TITLE, lead=_lead(evidence), tiles=_tiles(rows, evidence), sections="\n".join(sections)
    ).encode()


DRIFT = (
    '<p class="lead">Drift is the relative error that quantization leaves in an output:'
    " ‖FP32 − INT8‖₂ / ‖FP32‖₂ over the test images.</p>"
)


CAUSES = (
    '<p class="lead">A layer’s error is what it inherits from the layers before it, plus what retraining its weights,'
    " rounding them, clipping its output and rounding it add, each relative to ‖FP32‖₂. The parts add up to the whole"
    " exactly; their sizes do not, since parts may cancel.</p>"
)


def _lead(evidence: Evidence) -> str:
    return (
        f"MobileNetV2 on {escape(evidence.fp32.data)}, quantized after training and by retraining chosen layers."
        " Every INT8 accuracy is that of the converted integer program on the test images."
    )


def _tiles(rows: Sequence[Table2Row], evidence: Evidence) -> str:
    integer = [row for row in rows if not row.simulated]
    facts = {
        "FP32 top-1": percent(evidence.fp32.test_top1, 2),
        "INT8 top-1, range": _extremes([row.int8_top1 for row in integer if row.int8_top1 is not None], "%"),
        "FP32 size": f"{rows[0].size_mb:.2f} MB",
        "INT8 size": _extremes([row.size_mb for row in integer if row.int8_top1 is not None], "MB"),
        "Test images": f"{evidence.fp32.test_images:,}",
    }
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
        + "</dl>"
    )


def _extremes(values: Iterable[float], unit: str) -> str:
    ordered = sorted(values)
    ends = dict.fromkeys(f"{value:.2f}" for value in (ordered[:1] + ordered[-1:]))
    return f"{'–'.join(ends)} {unit}" if ends else NOTHING


def _section(heading: str, *content: str) -> str:
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *content, "</section>"])


def _table(sheet: Sheet) -> str:
    heading = "".join(f'<th scope="col"{_css(column)}>{escape(column.heading)}</th>' for column in sheet.columns)
    rows = "\n".join(_row(sheet.columns, cells) for cells in sheet.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n'
        f'<ul class="notes">{notes}</ul>'
    )


def _row(columns: Sequence[Column], cells: Sequence[str]) -> str:
    first, *rest = (f"{_css(column)}>{escape(cell)}" for column, cell in zip(columns, cells, strict=True))
    return f'<tr><th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in rest) + "</tr>"


CLASSES = {"text": "", "number": ' class="number"', "paper": ' class="number paper"'}


def _css(column: Column) -> str:
    return CLASSES[column.content]


def _figures(shown: Iterable[ReportFigure]) -> str:
    drawn = [_figure(figure) for figure in shown if len(figure.data)]
    return "\n".join(['<div class="charts">', *drawn, "</div>"]) if drawn else '<p class="lead">Nothing recorded.</p>'


def _figure(figure: ReportFigure) -> str:
    svg = to_svg(figure.paint, figure.data, figure.height)
    heading = escape(figure.heading)
    return (
        f"<figure>\n<h3>{heading}</h3>\n"
        f'<img alt="{heading}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">\n'
        f"<figcaption>{escape(figure.caption)}</figcaption>\n</figure>"
    )
