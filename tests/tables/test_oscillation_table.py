"""Oscillation by kind of layer, by hand."""

import made_up
import pandas as pd
import pytest

from selectq.tables.evidence import Evidence
from selectq.tables.oscillation import oscillation_by_kind, oscillation_sheet


def test_layers_count_by_their_weights(evidence: Evidence) -> None:
    table = oscillation_by_kind(evidence.oscillation)
    assert list(table.columns) == ["config", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]
    assert len(table) == 4 + 1 + 3 * (3 + 1)
    depthwise = table[(table["config"] == "dwpw") & (table["layer_kind"] == "depthwise")]
    assert depthwise.iloc[0, 2:].tolist() == pytest.approx([400, 50 / 4, 20 / 4])
    everything = table[(table["config"] == "full") & (table["layer_kind"] == "all")]
    assert everything.iloc[0, 2:].tolist() == pytest.approx([1600, 50 / 4, 20 / 4])


def test_kinds_that_do_not_learn_have_a_dash(evidence: Evidence) -> None:
    sheet = oscillation_sheet(oscillation_by_kind(evidence.oscillation))
    assert [column.heading for column in sheet.columns] == [
        *("Config", "Expansion", "Depthwise", "Projection", "Classifier", "All")
    ]
    assert sheet.rows[0] == ("full", *["5.0 % (12.5 %)"] * 5)
    assert sheet.rows[1] == ("dwpw", "–", *["5.0 % (12.5 %)"] * 4)


def test_nothing_that_learns_is_an_empty_table() -> None:
    nothing = pd.DataFrame(columns=list(made_up.oscillation("full")))
    assert oscillation_by_kind(nothing).empty
    assert oscillation_sheet(oscillation_by_kind(nothing)).rows == ()
