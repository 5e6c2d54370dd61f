"""Tables for readers: cells with units, notes from the data, aligned Markdown."""

import pytest

from selectq.params.configs import StatisticsConfig
from selectq.tables.cells import Sheet
from selectq.tables.configurations import Configuration
from selectq.tables.evidence import Evidence
from selectq.tables.markdown import to_markdown
from selectq.tables.paper import read_paper
from selectq.tables.sheets import Provenance, sheet1, sheet2
from selectq.tables.tables import table1, table2


def provenance(seed: int = 0, range_skew: float = 0.0) -> Provenance:
    return Provenance(seed, "plain", range_skew, StatisticsConfig(0.9, 1000, 0.25, ()))


@pytest.fixture
def first(configurations: list[Configuration], evidence: Evidence) -> Sheet:
    return sheet1(table1(configurations, evidence, read_paper()))


@pytest.fixture
def second(configurations: list[Configuration], evidence: Evidence) -> Sheet:
    return sheet2(table2(configurations, evidence, read_paper(), "plain"), evidence, provenance(seed=3))


def row_of(sheet: Sheet, name: str) -> dict[str, str]:
    cells = next(row for row in sheet.rows if row[0] == name)
    return dict(zip((column.heading for column in sheet.columns), cells, strict=True))


def test_table1_row(first: Sheet) -> None:
    assert row_of(first, "dwpw_asym") == {
        "Config": "dwpw_asym",
        "Layers retrained": "depthwise + projection + classifier",
        "Parameters": "930,000",
        "Share": "46.50 %",
        "Weights": "8 bit, channel",
        "Activations": "8 bit, asymmetric",
        "Epochs": "3",
        "Paper": "46.5 %",
    }
    assert row_of(first, "mine")["Paper"] == "–"


def test_table2_row(second: Sheet) -> None:
    assert row_of(second, "dwpw") == {
        "Config": "dwpw",
        "Layers retrained": "depthwise + projection + classifier",
        "Share": "46.50 %",
        "Size": "2.64 MB",
        "Top-1": "88.00 %",
        "Gap": "-2.00 [-2.50, -1.50]",
        "p": "7.5e-07",
        "Paper top-1": "92.29 %",
        "Paper gap": "-3.20",
    }
    assert row_of(second, "dwpw_asym")["Gap"] == "+0.40 [-0.10, +0.90]"
    assert [row_of(second, name)["p"] for name in ("tensor", "dwpw_asym")] == ["<1e-300", "1.0"]


def test_table2_fp32_row_shows_fp32_accuracies(second: Sheet) -> None:
    row = row_of(second, "fp32")
    assert (row["Top-1"], row["Paper top-1"]) == ("90.00 %", "95.49 %")
    assert {row[column] for column in ("Gap", "p", "Paper gap")} == {"–"}


def test_simulated_accuracy_is_marked_and_explained(
    second: Sheet, configurations: list[Configuration], evidence: Evidence
) -> None:
    assert {row[0]: row[4] for row in second.rows if "†" in row[4]} == {"mine": "† 50.00 %"}
    assert sum("† Simulated: fewer than 8 bits." in note for note in second.notes) == 1
    integer = [configuration for configuration in configurations if configuration.name != "mine"]
    without = sheet2(table2(integer, evidence, read_paper(), "plain"), evidence, provenance())
    assert "†" not in str(without)


@pytest.mark.parametrize(
    "words",
    [
        "2,500 test images of digits & <others>",
        "standard error of 0.59 to 1.00 points",
        "Gap: INT8 minus FP32, in points",
        "with its 90 % interval over the choice of the test images",
        "The interval excludes a loss of 0.25 points or more: dwpw_asym.",
        "over (so many) seeds, with Student's 90 % interval: dwpw -1.00 [-3.50, +1.50] (3).",
        "seed 3, regime plain",
        "tensor's from section 4.1",
        "it prints -2.82 for dwpw and -2.46 for dwpw_asym",
    ],
)
def test_table2_notes(second: Sheet, words: str) -> None:
    assert sum(words in note for note in second.notes) == 1


def test_rescaling_is_noted_where_there_was_one(configurations: list[Configuration], evidence: Evidence) -> None:
    rows = table2(configurations, evidence, read_paper(), "plain")
    notes = {skew: " ".join(sheet2(rows, evidence, provenance(range_skew=skew)).notes) for skew in (0.0, 1.5)}
    assert "range_skew 1.5" in notes[1.5]
    assert "range_skew" not in notes[0.0]


def test_notes_name_only_configurations_that_are_there(configurations: list[Configuration], evidence: Evidence) -> None:
    mine = [configuration for configuration in configurations if configuration.name == "mine"]
    notes = " ".join(sheet2(table2(mine, evidence, read_paper(), "plain"), evidence, provenance()).notes)
    assert "dwpw" not in notes and "tensor" not in notes and "it prints" not in notes


def test_markdown_is_aligned(first: Sheet, second: Sheet) -> None:
    for sheet in (first, second):
        lines = to_markdown(sheet).splitlines()
        table = [line for line in lines if line.startswith("|")]
        assert lines[0] == f"# {sheet.title}"
        assert len(table) == 2 + len(sheet.rows)
        assert len({len(line) for line in table}) == 1
        assert len({tuple(place for place, sign in enumerate(line) if sign == "|") for line in table}) == 1
        assert lines[-len(sheet.notes) :] == [f"- {note}" for note in sheet.notes]


def test_markdown_sets_numbers_flush_right(second: Sheet) -> None:
    lines = to_markdown(second).splitlines()
    assert lines[3].replace("-", "") == "|  |  | : | : | : | : | : | : | : |"
    assert "|    -2.00 [-2.50, -1.50] |" in next(line for line in lines if line.startswith("| dwpw "))
