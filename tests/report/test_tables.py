"""Tables 1 and 2 and the summary, with every number recomputed by hand."""

import dataclasses

import made_up
import pandas as pd
import pytest

from selectq.config.configs import Params
from selectq.config.configurations import Configuration, list_configurations
from selectq.report.evidence import Evidence
from selectq.report.paper import read_paper
from selectq.report.tables import accuracy_points, oscillation_by_kind, standard_error, summary, table1, table2


@pytest.fixture
def frame(configurations: list[Configuration], evidence: Evidence) -> pd.DataFrame:
    return table2(configurations, evidence, read_paper(), "plain").set_index("config")


def test_table1(configurations: list[Configuration], evidence: Evidence) -> None:
    frame = table1(configurations, evidence, read_paper()).set_index("config")
    assert list(frame.loc["tensor"])[:9] == ["ptq", "none", 0, 0.0, "8", "tensor", "8", "asymmetric", 0]
    assert list(frame.loc["mine"])[:9] == ["qat", "features.14", 30_000, 1.5, "4", "channel", "8", "symmetric", 3]
    assert list(frame["params_retrained_pct"]) == [0.0, 0.0, 100.0, 46.5, 46.5, 1.5]
    assert list(frame["paper_params_retrained_pct"])[:5] == [0.0, 0.0, 100.0, 46.5, 46.5]
    assert frame.loc["mine", "paper_method"] == "" and pd.isna(frame.loc["mine", "paper_params_retrained_pct"])


def test_fp32_row_has_no_int8_accuracy(frame: pd.DataFrame) -> None:
    fp32 = frame.loc["fp32"]
    assert list(frame.index) == ["fp32", "tensor", "channel", "full", "dwpw", "dwpw_asym", "mine"]
    assert list(fp32[["fp32_top1", "size_mb", "standard_error_points"]]) == [90.0, 9.12, 0.6]
    assert list(fp32[["setting", "scope", "seed_count", "simulated"]]) == ["plain", "", 1, False]
    measured = ["int8_top1", "gap_points", "params_retrained_pct", "ci_low", "ci_high", "mcnemar_p", "holm_p"]
    assert fp32[[*measured, "paper_int8_top1"]].isna().all()
    assert list(fp32[["paper_fp32_top1", "paper_size_mb"]]) == [95.49, 9.18]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("tensor", (0.0, 40.0, -50.0, 0.9798)),
        ("channel", (0.0, 60.0, -30.0, 0.9798)),
        ("full", (100.0, 89.0, -1.0, 0.6258)),
        ("dwpw", (46.5, 88.0, -2.0, 0.6499)),
        ("dwpw_asym", (46.5, 90.4, 0.4, 0.5892)),
        ("mine", (1.5, 50.0, -40.0, 1.0)),
    ],
)
def test_int8_rows(frame: pd.DataFrame, name: str, numbers: tuple[float, ...]) -> None:
    row = frame.loc[name]
    assert tuple(row[["params_retrained_pct", "int8_top1", "gap_points", "standard_error_points"]]) == numbers
    assert (row["size_mb"], row["fp32_top1"]) == (2.64, 90.0)


def test_chance_stands_beside_the_gap(frame: pd.DataFrame) -> None:
    found = frame[["ci_low", "ci_high", "mcnemar_p", "holm_p", "seed_count"]]
    assert found.loc["dwpw"].to_list() == [-2.5, -1.5, 1.25e-7, 7.5e-7, 3], "against FP32, not against full"
    assert found.loc["full", "seed_count"] == 1


def test_paper_columns(frame: pd.DataFrame) -> None:
    columns = ["paper_int8_top1", "paper_gap_points", "paper_printed_gap_points", "paper_size_mb"]
    assert list(frame.loc["dwpw", columns]) == [92.29, -3.2, -2.82, 2.64]
    assert list(frame.loc["dwpw_asym", columns]) == [93.25, -2.24, -2.46, 2.64]
    assert list(frame.loc["tensor", columns])[:2] == [44.18, -51.31]
    assert frame.loc["mine", columns].isna().all() and frame.loc["mine", "paper_source"] == ""


def test_paper_figures_go_with_the_experiment_not_with_the_name(params: Params, evidence: Evidence) -> None:
    coarse = dataclasses.replace(params.qat["full"].weights, granularity="tensor")
    qat = {"full": dataclasses.replace(params.qat["full"], weights=coarse), "mine": params.qat["full"]}
    rows = table2(list_configurations({}, qat, ()), evidence, read_paper(), "plain").set_index("config")
    assert rows["paper_int8_top1"].dropna().to_dict() == {"mine": 92.98}
    assert list(rows["paper_method"]) == ["FP32 Baseline", "", "Full QAT"]


@pytest.mark.parametrize(("top1", "images", "error"), [(94.0, 10_000, 0.2375), (50.0, 100, 5.0), (100.0, 450, 0.0)])
def test_standard_error(top1: float, images: int, error: float) -> None:
    assert standard_error(top1, images) == error


def test_summary(configurations: list[Configuration], evidence: Evidence) -> None:
    content = summary(configurations, evidence)
    assert content["fp32"] == {"test_top1": 90.0, "validation_top1": 91.0, "size_mb": 9.12}
    assert list(content["int8"]) == [configuration.name for configuration in configurations]
    assert content["int8"]["dwpw"] == {
        "top1": 88.0,
        "gap_points": -2.0,
        "size_mb": 2.64,
        "validation_top1": 89.0,
        "flipped_pct": 0.12,
        "float_operators": 0,
    }


def test_fewer_than_8_bits_are_simulated(frame: pd.DataFrame) -> None:
    assert frame["simulated"].to_dict() == {name: name == "mine" for name in frame.index}


def test_accuracy_points_leave_out_what_has_no_accuracy(frame: pd.DataFrame) -> None:
    assert list(accuracy_points(frame.reset_index())["config"]) == list(frame.index[1:])


def test_layers_count_by_their_weights(evidence: Evidence) -> None:
    table = oscillation_by_kind(evidence.oscillation)
    assert list(table.columns) == ["config", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]
    assert len(table) == 4 + 1 + 3 * (3 + 1)
    depthwise = table[(table["config"] == "dwpw") & (table["layer_kind"] == "depthwise")]
    assert depthwise.iloc[0, 2:].tolist() == pytest.approx([400, 50 / 4, 20 / 4])
    everything = table[(table["config"] == "full") & (table["layer_kind"] == "all")]
    assert everything.iloc[0, 2:].tolist() == pytest.approx([1600, 50 / 4, 20 / 4])
    assert oscillation_by_kind(made_up.oscillation("full")[:0]).empty
