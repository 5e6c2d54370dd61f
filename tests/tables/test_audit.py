"""The audit's table: shares lost by hand, the nearest to the paper first."""

import made_up
import pandas as pd
import pytest
from matplotlib.figure import Figure

from selectq.tables import charts
from selectq.tables.audit import audit_points, audit_sheet, compare_with_paper, paper_lost_pct
from selectq.tables.paper import read_paper

PAPER = read_paper()


@pytest.fixture
def table() -> pd.DataFrame:
    return compare_with_paper(made_up.audit(), PAPER)


def test_paper_s_losses() -> None:
    assert paper_lost_pct(PAPER, "tensor") == pytest.approx(100 * 51.31 / 85.49)
    assert paper_lost_pct(PAPER, "channel") == pytest.approx(100 * 27.62 / 85.49)


def test_nearest_pair_comes_first(table: pd.DataFrame) -> None:
    assert list(table["flaw"]) == ["fusion", "none", "range_skew"]
    first = table.iloc[0]
    assert (first["tensor_drop"], first["channel_drop"]) == (48.0, 26.0)
    assert (first["tensor_lost_pct"], first["channel_lost_pct"]) == (60.0, 32.5)  # of 80 points above chance
    assert first["distance"] == pytest.approx((0.0187**2 + 0.1922**2) ** 0.5, abs=1e-3)
    assert table.iloc[2]["tensor_lost_pct"] == table.iloc[2]["channel_lost_pct"] == 100.0


def test_sheet_begins_with_the_paper(table: pd.DataFrame) -> None:
    sheet = audit_sheet(table, PAPER)
    assert sheet.rows[0] == ("(the paper)", "–", "95.49 %", "44.18 %", "60.0 %", "67.87 %", "32.3 %", "–", "–", "–")
    assert sheet.rows[1][:3] == ("fusion", "none", "90.00 %") and sheet.rows[1][-1] == "0.2"
    assert sheet.rows[3][-3:-1] == ("> 99", "> 99")
    assert "500 test images" in sheet.notes[0]


def test_picture_shows_every_flaw_and_the_paper(table: pd.DataFrame) -> None:
    points = audit_points(table, made_up.audit(), PAPER)
    assert list(points["flaw"]) == ["none", "range_skew", "fusion", charts.PAPER]
    figure = Figure(layout="constrained")
    charts.paint_audit(figure, points)
    axes = figure.axes[0]
    drawn = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines[1:]}
    assert drawn["fusion"] == (32.5, 60.0)
    assert drawn[charts.PAPER] == pytest.approx((32.3, 60.0), abs=0.1)
    assert [text.get_text() for text in axes.texts] == ["none"], "beside what loses something, but not everything"
    assert drawn[charts.HARMLESS] == (0.0, 1.25)


def test_combinations_share_a_look(table: pd.DataFrame) -> None:
    points = audit_points(table, made_up.audit(), PAPER).replace({"flaw": {"none": "a + b", "fusion": "b + c"}})
    figure = Figure(layout="constrained")
    charts.paint_audit(figure, points)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [charts.COMBINED, "range_skew", charts.PAPER]


def test_flaws_that_lose_nothing_share_a_look_and_no_words() -> None:
    rows = [("one", "1", 1.0, 2.0), ("one", "2", 30.0, 40.0), ("other", "x", 3.0, 4.0), (charts.PAPER, "", 30.0, 60.0)]
    points = pd.DataFrame(rows, columns=["flaw", "setting", "channel_lost_pct", "tensor_lost_pct"])
    figure = Figure(layout="constrained")
    charts.paint_audit(figure, points)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["one"].get_linestyle() == "-" and list(lines["one"].get_ydata()) == [2.0, 40.0]
    assert list(lines[charts.HARMLESS].get_ydata()) == [4.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["2"]
