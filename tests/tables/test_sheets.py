"""Tables for readers: cells with units, notes from the data, aligned Markdown."""

import pytest

from selectq.params.configs import StatisticsConfig
from selectq.params.configurations import Configuration
from selectq.tables.cells import Sheet
from selectq.tables.evidence import Evidence
from selectq.tables.markdown import to_markdown
from selectq.tables.paper import Paper, figures_beside, read_paper
from selectq.tables.sheets import Provenance, sheet1, sheet2
from selectq.tables.tables import table1, table2
from selectq.tables.verdict import rank


def provenance(seed: int = 0, range_skew: float = 0.0) -> Provenance:
    return Provenance(seed, "plain", range_skew, StatisticsConfig(0.9, 0.25, ()))


@pytest.fixture
def first(configurations: list[Configuration], evidence: Evidence) -> Sheet:
    return sheet1(table1(configurations, evidence, read_paper()))


def table_of(
    configurations: list[Configuration], evidence: Evidence, paper: Paper, about: Provenance | None = None
) -> Sheet:
    rows, ranking = table2(configurations, evidence, paper, "plain"), rank(configurations, evidence, 0.5, 0.9)
    return sheet2(rows, ranking, evidence, about or provenance())


@pytest.fixture
def second(configurations: list[Configuration], evidence: Evidence) -> Sheet:
    return table_of(configurations, evidence, read_paper(), provenance(seed=3))


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
    assert row_of(second, "dwpw_asym") == {
        "Config": "dwpw_asym",
        "Against FP32": "keeps up (recommended)",
        "Gap, points": "+0.40 [−0.10, +0.90]",
        "Seeds": "1",
        "Top-1 on 2,500 images": "90.40 %",
        "Size": "2.64 MB",
        "Retrained": "46.50 %",
        "What is done": "QAT: depthwise + projection + classifier",
        "Scheme": "W8 channel, A8 asymmetric",
        "Paper top-1": "93.25 %",
        "Paper gap": "−2.24",
    }
    assert second.rows[second.marked or 0][0] == "dwpw_asym", "the row to choose is marked"
    assert [row[0] for row in second.rows] == ["fp32", "dwpw_asym", "dwpw", "full", "channel", "tensor", "mine"]


def test_accuracy_and_gap_are_of_the_same_seeds(second: Sheet) -> None:
    row = row_of(second, "dwpw")
    assert (row["Seeds"], row["Top-1 on 2,500 images"]) == ("3", "89.00 %"), "the mean, not the one of 88 %"
    assert row["Gap, points"].startswith("−1.00 [−")
    assert row_of(second, "tensor")["Seeds"] == "–", "nothing is trained"


def test_table2_fp32_row_shows_fp32_accuracies(second: Sheet) -> None:
    row = row_of(second, "fp32")
    assert (row["Top-1 on 2,500 images"], row["Paper top-1"], row["Gap, points"]) == ("90.00 %", "95.49 %", "–")


def test_paper_stands_beside_mobilenetv2_on_cifar10_alone(
    configurations: list[Configuration], evidence: Evidence
) -> None:
    for data, network, beside in (
        ("imagefolder cifar10-jpeg", "mobilenet_v2", True),
        ("cifar10 official", "mobilenet_v2", True),
        ("cifar10 official", "resnet18", False),
        ("digits scikit-learn", "mobilenet_v2", False),
    ):
        sheet = table_of(configurations, evidence, figures_beside(data, network))
        assert any(column.content == "paper" for column in sheet.columns) is beside
        assert ("Katyan" in " ".join(sheet.notes)) is beside
        assert all(len(row) == len(sheet.columns) for row in sheet.rows)


def test_simulated_accuracy_is_marked_and_explained(
    second: Sheet, configurations: list[Configuration], evidence: Evidence
) -> None:
    assert {row[0]: row[4] for row in second.rows if "†" in row[4]} == {"mine": "† 50.00 %"}
    assert sum("† Simulated: fewer than 8 bits." in note for note in second.notes) == 1
    integer = [configuration for configuration in configurations if configuration.name != "mine"]
    assert "†" not in str(table_of(integer, evidence, read_paper()))


@pytest.mark.parametrize(
    "words",
    [
        "2,500 test images of digits & <others>",
        "with its 90 % interval: of one seed, over the choice of the test images; of 3 seeds or more",
        "lies above −0.25 points",
        "Seed 3, setting plain",
        "tensor's from section 4.1",
        "it prints −2.82 for dwpw and −2.46 for dwpw_asym",
    ],
)
def test_table2_notes(second: Sheet, words: str) -> None:
    assert sum(words in note for note in second.notes) == 1


def test_rescaling_is_noted_where_there_was_one(configurations: list[Configuration], evidence: Evidence) -> None:
    notes = {
        skew: " ".join(table_of(configurations, evidence, read_paper(), provenance(range_skew=skew)).notes)
        for skew in (0.0, 1.5)
    }
    assert "range_skew 1.5" in notes[1.5]
    assert "range_skew" not in notes[0.0]


def test_notes_name_only_configurations_that_are_there(configurations: list[Configuration], evidence: Evidence) -> None:
    mine = [configuration for configuration in configurations if configuration.name == "mine"]
    notes = " ".join(table_of(mine, evidence, read_paper()).notes)
    assert "dwpw" not in notes and "tensor's" not in notes and "it prints" not in notes


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
    assert lines[3].replace("-", "") == "|  |  | : | : | : | : | : |  |  | : | : |"
