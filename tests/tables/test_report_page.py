"""The report: one file that needs no other, with both tables and every picture."""

import dataclasses
import re
from html.parser import HTMLParser

import made_up
import pandas as pd
import pytest

from selectq.params.configs import StatisticsConfig
from selectq.tables.audit import audit_points, audit_sheet, compare_with_paper
from selectq.tables.configurations import Configuration
from selectq.tables.evidence import Evidence
from selectq.tables.oscillation import oscillation_by_kind, oscillation_sheet
from selectq.tables.paper import read_paper
from selectq.tables.program_sheets import bytes_sheet, environment_sheet, parity_sheet
from selectq.tables.report import Beside, ReportSheets, render_report
from selectq.tables.sheets import Provenance, sheet1, sheet2
from selectq.tables.tables import table1, table2

SETTINGS = StatisticsConfig(0.95, 1000, 0.5, ())


class Page(HTMLParser):
    """What a page holds: its references, headings and table cells; fails on tags that do not match."""

    VOID = ("meta", "img")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.captions: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.tables[-1][-1][-1] += data
        if self.open[-1:] == ["h3"]:
            self.captions.append(data)


def render(configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame) -> str:
    paper = read_paper()
    rows, audited = table2(configurations, evidence, paper, "plain"), compare_with_paper(made_up.audit(), paper)
    sheets = ReportSheets(
        sheet1(table1(configurations, evidence, paper)),
        sheet2(rows, evidence, Provenance(0, "plain", 0.0, SETTINGS)),
        parity_sheet(configurations, evidence),
        bytes_sheet(configurations, evidence),
        environment_sheet(configurations, evidence),
        oscillation_sheet(oscillation_by_kind(evidence.oscillation)),
        audit_sheet(audited, paper),
    )
    beside = Beside(latency, audit_points(audited, made_up.audit(), paper), SETTINGS.margin_points)
    return render_report(sheets, rows, evidence, beside).decode()


@pytest.fixture(scope="module")
def source(configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame) -> str:
    return render(configurations, evidence, latency)


def test_report_refers_to_nothing_outside_itself(source: str) -> None:
    assert not re.search(r"https?://|url\(|@import|<script|<link", source)
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in Page(source).references)


def test_report_is_small(source: str) -> None:
    assert len(source.encode()) < 1_500_000


def test_report_holds_every_table(source: str) -> None:
    second, first, parity, sizes, oscillation, audit, environment = Page(source).tables
    assert first[0][-1] == "Paper"
    assert [row[0] for row in first[1:]] == ["tensor", "channel", "full", "dwpw", "dwpw_asym", "mine"]
    assert second[5][3:] == ["2.64 MB", "88.00 %", "-2.00 [-2.50, -1.50]", "7.5e-07", "92.29 %", "-3.20"]
    assert len(second) == 8
    assert parity[5] == ["dwpw_asym", "0.12 %", "1", *["90.40 %"] * 5, "90.36 %"]
    assert sizes[6][:2] == ["mine", "2,200.0 kB"]
    assert len(parity) == len(sizes) == 7
    assert [row[0] for row in oscillation] == ["Config", "full", "dwpw", "dwpw_asym", "mine"]
    assert [row[0] for row in audit[1:]] == ["(the paper)", "fusion", "none", "range_skew"]
    assert environment[1][1:] == ["3.11.9", "2.15.0", "1.32.0", "1.5.1", "x86_64: avx2, avx512_vnni"]


def test_simulated_accuracies_are_none_of_int8(
    source: str, configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame
) -> None:
    few_bits = {name: dataclasses.replace(int8, integer_arithmetic=False) for name, int8 in evidence.int8.items()}
    tile = "<dt>INT8 top-1, range</dt><dd>"
    assert f"{tile}40.00–90.40 %</dd>" in source
    assert f"{tile}–</dd>" in render(configurations, dataclasses.replace(evidence, int8=few_bits), latency)


def test_report_holds_every_picture(source: str) -> None:
    page = Page(source)
    assert page.captions == [
        "Accuracy against the retrained share",
        "The same in the paper",
        "Gap to fp32",
        "Gap to full",
        "Accuracy by range estimator and number of calibration images",
        "Time per image on one thread",
        "FP32 training",
        "Quantization-aware training",
        "Per block, accumulated",
        "Per block, isolated",
        "Per layer, accumulated",
        "Per layer, isolated",
        "Causes of drift, by kind of layer",
        "Channel ranges of features.14.conv.1.0",
        "Levels used by features.14.conv.1.0",
        "What each flaw loses",
        "Confusion of tensor",
        "Confusion of dwpw_asym",
    ]
    assert len(page.references) == len(page.captions)


def test_text_from_the_data_is_escaped(source: str) -> None:
    assert "digits &amp; &lt;others&gt;" in source
    assert "<others>" not in source


def test_pictures_without_data_are_left_out(
    configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame
) -> None:
    mine = [configuration for configuration in configurations if configuration.name == "mine"]
    empty = dataclasses.replace(
        evidence,
        channel_ranges=evidence.channel_ranges[:0],
        histograms=evidence.histograms[:0],
        confusion=evidence.confusion[:0],
        calibration=evidence.calibration[:0],
        drift=evidence.drift[:0],
        causes=evidence.causes[:0],
        learning=evidence.learning.query("config == 'mine'"),
        paired=evidence.paired.query("config == 'mine'"),
    )
    page = Page(render(mine, empty, latency[:0]))
    assert page.captions == [
        "Accuracy against the retrained share",
        "Gap to fp32",
        "Quantization-aware training",
        "What each flaw loses",
    ]
