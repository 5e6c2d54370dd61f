"""The report: one file that needs no other, with the verdict first, every table and every chart."""

import dataclasses
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import made_up
import pandas as pd
import pytest

from selectq.config.configs import Params
from selectq.config.configurations import Configuration
from selectq.report.audit import compare_with_paper
from selectq.report.evidence import Evidence
from selectq.report.looks import assign_looks
from selectq.report.page import Report, commit_of, render_report
from selectq.report.paper import read_paper
from selectq.report.report_tables import accuracy_table, provenance_note
from selectq.report.sections import Beside, report_sections
from selectq.report.tables import oscillation_by_kind, table2
from selectq.report.verdict import find_verdict, rank
from selectq.statistics.schemas import LATENCY


class Page(HTMLParser):
    """What a page holds: links, headings, table cells, elements by tag; fails on tags that do not match."""

    VOID = ("meta", "wbr")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text: dict[str, list[str]] = {"h2": [], "h3": [], "style": []}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.feed(source)
        assert self.open == []

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")
        if self.open[-1:] and self.open[-1] in self.text:
            self.text[self.open[-1]].append(data)


def render(
    params: Params,
    configurations: list[Configuration],
    evidence: Evidence,
    latency: pd.DataFrame,
    audit: pd.DataFrame,
) -> str:
    paper, settings = read_paper(), dataclasses.replace(params.statistics, margin_points=0.5, confidence=0.95)
    rows = table2(configurations, evidence, paper, "plain")
    ranking = rank(configurations, evidence, settings.margin_points, settings.confidence)
    oscillation = oscillation_by_kind(evidence.oscillation)
    beside = Beside(rows, oscillation, audit, compare_with_paper(audit, paper), latency, made_up.plan())
    accuracies = accuracy_table(rows, ranking, evidence, settings, provenance_note(0, "plain", 0.0))
    sections = report_sections(evidence, ranking, beside, accuracies, swept=200, compared=1000)
    names = [one.name for one in ranking.configurations]
    lead = f"some_net on {evidence.fp32.data}, setting plain"
    verdict = find_verdict(ranking, evidence, 0.0)
    return render_report(Report(lead, verdict, True, names, sections, "0123abc")).decode()


@pytest.fixture(scope="module")
def source(params: Params, configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame) -> str:
    return render(params, configurations, evidence, latency, made_up.audit())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_no_style_is_written_twice(page: Page) -> None:
    rules = [line for line in "".join(page.text["style"]).splitlines() if "{" in line]
    assert len(rules) > 50 and len(set(rules)) == len(rules)


def test_report_refers_to_nothing_outside_itself(source: str, page: Page) -> None:
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.search(r"https?://|@import|src=|<link|<script", without_names)
    names = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    references = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert {str(reference).removeprefix("#") for reference in references} <= names
    assert len(source.encode()) < 2_000_000


def test_verdict_comes_first(source: str) -> None:
    assert source.index("the cheapest configuration that keeps up") < source.index("<table>")
    assert "made by commit 0123abc" in source.lower()


def test_report_holds_every_table(page: Page) -> None:
    second, plan, oscillation, audit, parity, sizes, environment = page.tables
    assert plan[1:] == [
        ["channel", "0.00 %", "80.00 %", "−10.00 [−11.00, −9.00]"],
        ["1 layer retrained, rate 0.001", "5.00 %", "85.00 %", "−5.00 [−6.00, −4.00]"],
    ]
    assert [row[0] for row in second] == ["Config", "fp32", "dwpw_asym", "dwpw", "full", "channel", "tensor", "mine"]
    assert second[2][1:5] == ["keeps up (recommended)", "+0.40 [−0.10, +0.90]", "1", "90.40 %"]
    assert parity[1] == ["dwpw_asym", "0.12 %", "1", *["90.40 %"] * 5, "90.36 %"]
    assert sizes[6][:2] == ["mine", "2,200.0 kB"]
    assert [row[0] for row in oscillation] == ["Config", "full", "dwpw", "dwpw_asym", "mine"]
    assert [row[0] for row in audit[1:]] == ["(the paper)", "fusion", "none", "range_skew"]
    assert environment[1][0] == "all"


def test_report_holds_every_chart(page: Page) -> None:
    assert page.text["h3"] == [
        "Table 2: accuracy and size",
        "Gap to FP32",
        "Gap to full",
        "Accuracy against the retrained share",
        "What was tried",
        "The plan, accuracy against the retrained share",
        "Expected gain by kind and depth",
        "Learning curves",
        "Calibration of tensor",
        "Calibration of channel",
        "Oscillation: weights that jump back and forth between integer codes",
        "Drift per block",
        "What starts the error, by kind of layer",
        "Channel ranges",
        "Integer codes used",
        "What dwpw_asym takes for what",
        *(f"{name}: drift by kind and depth" for name in ("tensor", "dwpw_asym")),
        "What each flaw loses",
        "Time per image",
    ]


def test_a_configuration_has_one_look_all_over_the_page(source: str) -> None:
    for name, look in assign_looks(made_up.INT8_TOP1).items():
        marks = re.findall(rf"<path ([^>]*)><title>configuration: {name},", source)
        points = [mark for mark in marks if 'fill="#' in mark]
        assert len(points) > 10
        assert {re.findall('fill="(#[0-9A-F]+)"', point)[0] for point in points} == {look.colour}
        shapes = {re.sub(r"[^A-Z]", "", re.findall(' d="([^"]*)"', point)[0]) for point in points}
        assert len(shapes) == 1, "one marker in every size"
        assert set(re.findall(rf'"#m-([\w-]+)" fill="{look.colour}"/></svg>{name}<', source)) <= {look.marker}


def test_page_can_be_used_without_a_mouse_and_without_pictures(page: Page) -> None:
    pictures = [each for each in page.all("svg") if each.get("role") == "img"]
    assert len(pictures) == len(page.all("figure")) == 17
    assert all(re.search(r"\d", str(each["aria-label"])) for each in pictures), "they say what is seen"
    regions = [each for each in page.all("div") if each.get("class") == "scroll"]
    assert len(regions) == len(page.tables)
    assert all((each["tabindex"], each["role"]) == ("0", "region") and each["aria-label"] for each in regions)
    assert len(page.all("a")) == len(page.text["h2"])


def test_page_has_a_dark_mode(page: Page) -> None:
    (style,) = page.text["style"]
    light, dark = (dict(re.findall(r"(--\w+): (#\w+)", block)) for block in re.findall(r":root {(.*?)}", style))
    assert light.keys() == dark.keys()
    assert "prefers-color-scheme: dark" in style


def test_text_from_the_data_is_escaped(source: str) -> None:
    assert "digits &amp; &lt;others&gt;" in source
    assert "<others>" not in source


def test_sections_without_data_are_left_out(
    params: Params, configurations: list[Configuration], evidence: Evidence
) -> None:
    mine = [configuration for configuration in configurations if configuration.name == "mine"]
    tables = ("channel_ranges", "histograms", "confusion", "calibration", "drift", "causes", "oscillation", "learning")
    empty = dataclasses.replace(
        evidence,
        **{name: getattr(evidence, name)[:0] for name in tables},
        paired=evidence.paired.query("config == 'mine'"),
    )
    without_flaws = made_up.audit().query("flaw == 'none'")
    page = Page(render(params, mine, empty, LATENCY.frame([]), without_flaws))
    of_results = ["Table 2: accuracy and size", "Gap to FP32", "Accuracy against the retrained share"]
    of_the_plan = [
        "What was tried",
        "The plan, accuracy against the retrained share",
        "Expected gain by kind and depth",
    ]
    assert page.text["h3"] == of_results + of_the_plan
    assert len(page.text["h2"]) == len(page.tables) == 5


def test_commit_is_the_one_checked_out(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path))
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert commit.startswith(found := commit_of(tmp_path)) and len(found) == 12
    (tmp_path / "src" / "a.py").write_text("2")
    assert commit_of(tmp_path) == f"{found} and changes"
