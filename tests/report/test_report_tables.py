"""Tables for readers: cells with units, notes from the data, aligned Markdown."""

import dataclasses
from collections.abc import Callable

import made_up
import pytest

from selectq.config.configs import Params, StatisticsConfig
from selectq.config.configurations import Configuration
from selectq.config.formats import FORMATS
from selectq.report.evidence import CpuMetrics, EnvironmentMetrics, Evidence
from selectq.report.formatting import Table, kilobytes
from selectq.report.markdown import to_markdown
from selectq.report.paper import Paper, figures_beside, read_paper
from selectq.report.report_tables import (
    BACKEND_MEANINGS,
    accuracy_table,
    backend_accuracies,
    bytes_table,
    configurations_table,
    cpu_notes,
    environment_table,
    oscillation_table,
    parity_table,
    provenance_note,
    worst_flips,
)
from selectq.report.tables import oscillation_by_kind, table1, table2
from selectq.report.verdict import rank


@pytest.fixture
def first(configurations: list[Configuration], evidence: Evidence) -> Table:
    return configurations_table(table1(configurations, evidence, read_paper()))


@pytest.fixture
def table_of(params: Params) -> Callable[..., Table]:
    def write(configurations: list[Configuration], evidence: Evidence, paper: Paper, **changes: float) -> Table:
        about = dataclasses.replace(params, **changes)
        provenance = provenance_note(about.seed, about.setting, about.range_skew)
        rows, ranking = table2(configurations, evidence, paper, "plain"), rank(configurations, evidence, 0.5, 0.9)
        return accuracy_table(rows, ranking, evidence, StatisticsConfig(0.9, 0.25, ()), provenance)

    return write


@pytest.fixture
def second(table_of: Callable[..., Table], configurations: list[Configuration], evidence: Evidence) -> Table:
    return table_of(configurations, evidence, read_paper(), seed=3)


def row_of(table: Table, name: str) -> dict[str, str]:
    cells = next(row for row in table.rows if row[0] == name)
    return dict(zip((column.heading for column in table.columns), cells, strict=True))


def test_table1_row(first: Table) -> None:
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


def test_table2_row(second: Table) -> None:
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


def test_accuracy_and_gap_are_of_the_same_seeds(second: Table) -> None:
    row = row_of(second, "dwpw")
    assert (row["Seeds"], row["Top-1 on 2,500 images"]) == ("3", "89.00 %"), "the mean, not the one of 88 %"
    assert row["Gap, points"].startswith("−1.00 [−")
    assert row_of(second, "tensor")["Seeds"] == "–", "nothing is trained"


def test_table2_fp32_row_shows_fp32_accuracies(second: Table) -> None:
    row = row_of(second, "fp32")
    assert (row["Top-1 on 2,500 images"], row["Paper top-1"], row["Gap, points"]) == ("90.00 %", "95.49 %", "–")


def test_paper_stands_beside_mobilenetv2_on_cifar10_alone(
    table_of: Callable[..., Table], configurations: list[Configuration], evidence: Evidence
) -> None:
    for data, network, beside in (
        ("imagefolder cifar10-jpeg", "mobilenet_v2", True),
        ("cifar10 official", "mobilenet_v2", True),
        ("cifar10 official", "resnet18", False),
        ("digits scikit-learn", "mobilenet_v2", False),
    ):
        table = table_of(configurations, evidence, figures_beside(data, network))
        assert any(column.content == "paper" for column in table.columns) is beside
        assert ("Katyan" in " ".join(table.notes)) is beside
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_simulated_accuracy_is_marked_and_explained(
    table_of: Callable[..., Table], second: Table, configurations: list[Configuration], evidence: Evidence
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
def test_table2_notes(second: Table, words: str) -> None:
    assert sum(words in note for note in second.notes) == 1


def test_rescaling_is_noted_where_there_was_one(
    table_of: Callable[..., Table], configurations: list[Configuration], evidence: Evidence
) -> None:
    notes = {
        skew: " ".join(table_of(configurations, evidence, read_paper(), range_skew=skew).notes) for skew in (0.0, 1.5)
    }
    assert "range_skew 1.5" in notes[1.5]
    assert "range_skew" not in notes[0.0]


def test_notes_name_only_configurations_that_are_there(
    table_of: Callable[..., Table], configurations: list[Configuration], evidence: Evidence
) -> None:
    mine = [configuration for configuration in configurations if configuration.name == "mine"]
    notes = " ".join(table_of(mine, evidence, read_paper()).notes)
    assert "dwpw" not in notes and "tensor's" not in notes and "it prints" not in notes


def test_markdown_is_aligned(first: Table, second: Table) -> None:
    for table in (first, second):
        lines = to_markdown(table).splitlines()
        drawn = [line for line in lines if line.startswith("|")]
        assert lines[0] == f"# {table.title}"
        assert len(drawn) == 2 + len(table.rows)
        assert len({len(line) for line in drawn}) == 1
        assert len({tuple(place for place, sign in enumerate(line) if sign == "|") for line in drawn}) == 1
        assert lines[-len(table.notes) :] == [f"- {note}" for note in table.notes]


def test_markdown_sets_numbers_flush_right(second: Table) -> None:
    lines = to_markdown(second).splitlines()
    assert lines[3].replace("-", "") == "|  |  | : | : | : | : | : |  |  | : | : |"


def headings(table: Table) -> list[str]:
    return [column.heading for column in table.columns]


def test_parity_has_a_row_for_each_configuration_and_a_column_for_each_form(
    configurations: list[Configuration], evidence: Evidence
) -> None:
    table = parity_table(configurations, evidence, 1000)
    assert headings(table) == ["Config", "Worst flip", "Layer steps", *BACKEND_MEANINGS]
    assert [row[0] for row in table.rows] == [configuration.name for configuration in configurations]
    assert table.rows[3] == ("dwpw", "0.12 %", "1", *["88.00 %"] * 5, "87.96 %")


def test_form_that_was_not_made_has_no_column(configurations: list[Configuration], evidence: Evidence) -> None:
    without = {name: pairs[pairs["other"] != "executorch"] for name, pairs in evidence.pairs.items()}
    table = parity_table(configurations, dataclasses.replace(evidence, pairs=without), 1000)
    assert headings(table)[3:] == ["simulation", "reference", "torch_export", "onnx_plain", "onnx"]
    assert "executorch" not in " ".join(table.notes)


def test_form_that_one_configuration_lacks_is_a_dash(configurations: list[Configuration], evidence: Evidence) -> None:
    pairs = evidence.pairs["full"]
    fewer = evidence.pairs | {"full": pairs[pairs["other"] != "executorch"]}
    rows = {row[0]: row for row in parity_table(configurations, dataclasses.replace(evidence, pairs=fewer), 1000).rows}
    assert (rows["full"][-1], rows["dwpw"][-1]) == ("–", "87.96 %")


def test_each_form_has_its_own_worst_flip() -> None:
    pairs = made_up.pairs("full")
    pairs.loc[(pairs["one"] == "reference") & (pairs["other"] == "onnx"), "flipped_pct"] = 0.5
    assert worst_flips(pairs) == dict.fromkeys(BACKEND_MEANINGS, 0.12) | {"reference": 0.5, "onnx": 0.5}
    assert list(worst_flips(pairs)) == list(backend_accuracies(pairs)) == list(BACKEND_MEANINGS)


def test_format_from_outside_has_its_column(
    configurations: list[Configuration], evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS._made, "npz", None)
    pairs = {name: found.replace("executorch", "npz") for name, found in evidence.pairs.items()}
    table = parity_table(configurations, dataclasses.replace(evidence, pairs=pairs), 1000)
    assert headings(table)[-2:] == ["onnx", "npz"] and table.rows[3][-1] == "87.96 %"
    assert "npz: the .npz file in its runtime." in table.notes[0]


def test_every_form_is_explained() -> None:
    assert tuple(BACKEND_MEANINGS) == made_up.BACKENDS


def test_parts_and_other_formats(configurations: list[Configuration], evidence: Evidence) -> None:
    table = bytes_table(configurations, evidence)
    assert headings(table) == ["Config", "Weights", "Biases", "Scales", "Graph", "ONNX file", "pt2 file", "pte file"]
    parts = ("2,200.0 kB", "68.0 kB", "142.0 kB", "230.0 kB", "2,640.0 kB")
    assert table.rows[0] == ("tensor", *parts, "2,700.0 kB", "2,550.0 kB")
    assert len(table.rows) == len(configurations)


def test_format_that_was_not_made_has_no_column(configurations: list[Configuration], evidence: Evidence) -> None:
    onnx = {name: dataclasses.replace(int8, sizes={"onnx": 2_640_000}) for name, int8 in evidence.int8.items()}
    assert headings(bytes_table(configurations, dataclasses.replace(evidence, int8=onnx)))[-1] == "ONNX file"
    onnx["full"] = evidence.int8["full"]
    mixed = bytes_table(configurations, dataclasses.replace(evidence, int8=onnx))
    assert [row[-1] for row in mixed.rows] == ["–", "–", "2,550.0 kB", "–", "–", "–"]


def test_each_environment_has_a_row(configurations: list[Configuration], evidence: Evidence) -> None:
    assert len(environment_table(configurations, evidence).rows) == 1
    elsewhere = EnvironmentMetrics({"python": "3.12.1", "torch": "2.15.0", "onnxruntime": "1.33.0"}, "aarch64", ())
    parity = evidence.parity | {"full": dataclasses.replace(evidence.parity["full"], environment=elsewhere)}
    first, second = environment_table(configurations, dataclasses.replace(evidence, parity=parity)).rows
    assert first[0] == "tensor, channel, dwpw, dwpw_asym, mine"
    assert second == ("full", "3.12.1", "2.15.0", "1.33.0", "–", "aarch64")


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 kB"), (1_234_567, "1,234.6 kB"), (None, "–")])
def test_kilobytes(size: int | None, text: str) -> None:
    assert kilobytes(size) == text


def test_each_kind_of_cpu_is_named_once() -> None:
    with_vnni, without = CpuMetrics(True, False), CpuMetrics(False, True)
    assert cpu_notes([with_vnni, without, with_vnni]) == [
        "Measured on a CPU with VNNI, where sums of uint8 × int8 products do not saturate.",
        "Measured on a CPU without VNNI, where sums of uint8 × int8 products saturate by default.",
    ]


def test_kinds_that_do_not_learn_have_a_dash(evidence: Evidence) -> None:
    table = oscillation_table(oscillation_by_kind(evidence.oscillation))
    assert [column.heading for column in table.columns] == [
        *("Config", "Expansion", "Depthwise", "Projection", "Classifier", "All")
    ]
    assert table.rows[0] == ("full", *["5.0 % (12.5 %)"] * 5)
    assert table.rows[1] == ("dwpw", "–", *["5.0 % (12.5 %)"] * 4)


def test_nothing_that_learns_is_an_empty_table() -> None:
    assert oscillation_table(oscillation_by_kind(made_up.oscillation("full")[:0])).rows == ()
