"""Tables of the programs: the worst of all forms, and bytes that sum up to the files."""

import dataclasses

import made_up
import pytest

from selectq.params.configurations import Configuration
from selectq.tables.cells import Sheet
from selectq.tables.evidence import FORMS, ByteCounts, CpuMetrics, EnvironmentMetrics, Evidence
from selectq.tables.program_sheets import (
    FORM_MEANINGS,
    byte_cells,
    bytes_sheet,
    cpu_notes,
    environment_sheet,
    form_accuracies,
    kilobytes,
    parity_sheet,
    worst_flips,
)


def headings(sheet: Sheet) -> list[str]:
    return [column.heading for column in sheet.columns]


def test_parity_has_a_row_for_each_configuration_and_a_column_for_each_form(
    configurations: list[Configuration], evidence: Evidence
) -> None:
    sheet = parity_sheet(configurations, evidence, 1000)
    assert headings(sheet) == ["Config", "Worst flip", "Layer steps", *FORMS]
    assert [row[0] for row in sheet.rows] == [configuration.name for configuration in configurations]
    assert sheet.rows[3] == ("dwpw", "0.12 %", "1", *["88.00 %"] * 5, "87.96 %")


def test_form_that_was_not_made_has_no_column(configurations: list[Configuration], evidence: Evidence) -> None:
    without = {name: pairs[pairs["other"] != "executorch"] for name, pairs in evidence.pairs.items()}
    sheet = parity_sheet(configurations, dataclasses.replace(evidence, pairs=without), 1000)
    assert headings(sheet)[3:] == ["simulation", "reference", "torch_export", "onnx_plain", "onnx"]
    assert "executorch" not in " ".join(sheet.notes)


def test_form_that_one_configuration_lacks_is_a_dash(configurations: list[Configuration], evidence: Evidence) -> None:
    pairs = evidence.pairs["full"]
    fewer = evidence.pairs | {"full": pairs[pairs["other"] != "executorch"]}
    rows = {row[0]: row for row in parity_sheet(configurations, dataclasses.replace(evidence, pairs=fewer), 1000).rows}
    assert (rows["full"][-1], rows["dwpw"][-1]) == ("–", "87.96 %")


def test_each_form_has_its_own_worst_flip() -> None:
    pairs = made_up.pairs("full")
    pairs.loc[(pairs["one"] == "reference") & (pairs["other"] == "onnx"), "flipped_pct"] = 0.5
    assert worst_flips(pairs) == dict.fromkeys(FORMS, 0.12) | {"reference": 0.5, "onnx": 0.5}
    assert list(worst_flips(pairs)) == list(form_accuracies(pairs)) == list(FORMS)


def test_every_form_is_explained() -> None:
    assert tuple(FORM_MEANINGS) == FORMS == made_up.FORMS


def test_parts_and_other_formats(configurations: list[Configuration], evidence: Evidence) -> None:
    sheet = bytes_sheet(configurations, evidence)
    assert headings(sheet) == ["Config", "Weights", "Biases", "Scales", "Graph", "ONNX file", "pt2 file", "pte file"]
    parts = ("2,200.0 kB", "68.0 kB", "142.0 kB", "230.0 kB", "2,640.0 kB")
    assert sheet.rows[0] == ("tensor", *parts, "2,700.0 kB", "2,550.0 kB")
    assert len(sheet.rows) == len(configurations)


def test_format_that_was_not_made_has_no_column(configurations: list[Configuration], evidence: Evidence) -> None:
    onnx = {name: dataclasses.replace(int8, sizes={"onnx": 2_640_000}) for name, int8 in evidence.int8.items()}
    assert headings(bytes_sheet(configurations, dataclasses.replace(evidence, int8=onnx)))[-1] == "ONNX file"
    onnx["full"] = evidence.int8["full"]
    mixed = bytes_sheet(configurations, dataclasses.replace(evidence, int8=onnx))
    assert [row[-1] for row in mixed.rows] == ["–", "–", "2,550.0 kB", "–", "–", "–"]


def test_each_environment_has_a_row(configurations: list[Configuration], evidence: Evidence) -> None:
    assert len(environment_sheet(configurations, evidence).rows) == 1
    elsewhere = EnvironmentMetrics({"python": "3.12.1", "torch": "2.15.0", "onnxruntime": "1.33.0"}, "aarch64", ())
    parity = evidence.parity | {"full": dataclasses.replace(evidence.parity["full"], environment=elsewhere)}
    first, second = environment_sheet(configurations, dataclasses.replace(evidence, parity=parity)).rows
    assert first[0] == "tensor, channel, dwpw, dwpw_asym, mine"
    assert second == ("full", "3.12.1", "2.15.0", "1.33.0", "–", "aarch64")


def test_byte_cells_are_in_the_order_of_their_columns() -> None:
    assert byte_cells(ByteCounts(weights=1_000, biases=2_000, scales=3_000, graph=4_000)) == (
        "1.0 kB",
        "2.0 kB",
        "3.0 kB",
        "4.0 kB",
    )


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 kB"), (1_234_567, "1,234.6 kB"), (None, "–")])
def test_kilobytes(size: int | None, text: str) -> None:
    assert kilobytes(size) == text


def test_each_kind_of_cpu_is_named_once() -> None:
    with_vnni, without = CpuMetrics(True, False), CpuMetrics(False, True)
    assert cpu_notes([with_vnni, without, with_vnni]) == [
        "Measured on a CPU with VNNI, where sums of uint8 × int8 products do not saturate.",
        "Measured on a CPU without VNNI, where sums of uint8 × int8 products saturate by default.",
    ]
