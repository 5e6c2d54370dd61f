"""The audit's table: shares lost by hand, the nearest to the paper first."""

import made_up
import pandas as pd
import pytest

from selectq.report.audit import audit_table, compare_with_paper, paper_lost_pct
from selectq.report.paper import read_paper

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


def test_table_begins_with_the_paper(table: pd.DataFrame) -> None:
    shown = audit_table(table, PAPER)
    assert shown.rows[0] == ("(the paper)", "–", "95.49 %", "44.18 %", "60.0 %", "67.87 %", "32.3 %", "–", "–", "–")
    assert shown.rows[1][:3] == ("fusion", "none", "90.00 %") and shown.rows[1][-1] == "0.2"
    assert shown.rows[3][-3:-1] == ("> 99", "> 99")
    assert "500 test images" in shown.notes[0]
