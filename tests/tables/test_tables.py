"""Tables 1 and 2 and the summary, with every number recomputed by hand."""

import dataclasses

import pytest

from selectq.params.configs import Params
from selectq.params.configurations import Configuration, list_configurations
from selectq.tables.evidence import Evidence
from selectq.tables.paper import PaperFigures, read_paper
from selectq.tables.plot_data import accuracy_points
from selectq.tables.tables import Table2Row, standard_error, summary, table1, table2, to_frame


@pytest.fixture
def rows(configurations: list[Configuration], evidence: Evidence) -> list[Table2Row]:
    return table2(configurations, evidence, read_paper(), "plain")


def test_table1(configurations: list[Configuration], evidence: Evidence) -> None:
    frame = to_frame(table1(configurations, evidence, read_paper())).set_index("config")
    assert list(frame.columns) == [
        "method",
        "scope",
        "params_retrained",
        "params_retrained_pct",
        "weight_bits",
        "weight_granularity",
        "activation_bits",
        "activation_scheme",
        "epochs",
        "paper_method",
        "paper_params_retrained_pct",
    ]
    assert list(frame.loc["tensor"])[:9] == ["ptq", "none", 0, 0.0, "8", "tensor", "8", "asymmetric", 0]
    assert list(frame.loc["mine"])[:9] == ["qat", "features.14", 30_000, 1.5, "4", "channel", "8", "symmetric", 3]
    assert list(frame["params_retrained_pct"]) == [0.0, 0.0, 100.0, 46.5, 46.5, 1.5]
    assert list(frame["paper_params_retrained_pct"])[:5] == [0.0, 0.0, 100.0, 46.5, 46.5]
    assert frame.loc["mine", ["paper_method", "paper_params_retrained_pct"]].isna().all()


def test_table2_columns_and_order(rows: list[Table2Row]) -> None:
    frame = to_frame(rows)
    required = {"config", "params_retrained_pct", "size_mb", "int8_top1", "gap_points", "paper_int8_top1"}
    assert required | {"paper_gap_points", "paper_printed_gap_points", "paper_size_mb"} <= set(frame.columns)
    assert list(frame["config"]) == ["fp32", "tensor", "channel", "full", "dwpw", "dwpw_asym", "mine"]


def test_fp32_row_has_no_int8_accuracy(rows: list[Table2Row]) -> None:
    fp32 = rows[0]
    assert (fp32.fp32_top1, fp32.size_mb, fp32.standard_error_points) == (90.0, 9.12, 0.6)
    assert (fp32.int8_top1, fp32.gap_points, fp32.params_retrained_pct) == (None, None, None)
    assert (fp32.regime, fp32.seed_count) == ("plain", 1)
    assert (fp32.ci_low, fp32.ci_high, fp32.mcnemar_p, fp32.holm_p) == (None, None, None, None)
    assert (fp32.paper.fp32_top1, fp32.paper.size_mb, fp32.paper.int8_top1) == (95.49, 9.18, None)


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
def test_int8_rows(rows: list[Table2Row], name: str, numbers: tuple[float, ...]) -> None:
    row = next(row for row in rows if row.config == name)
    assert (row.params_retrained_pct, row.int8_top1, row.gap_points, row.standard_error_points) == numbers
    assert (row.size_mb, row.fp32_top1) == (2.64, 90.0)


def test_chance_stands_beside_the_gap(rows: list[Table2Row]) -> None:
    found = {row.config: (row.ci_low, row.ci_high, row.mcnemar_p, row.holm_p, row.seed_count) for row in rows}
    assert found["dwpw"] == (-2.5, -1.5, 1.25e-7, 7.5e-7, 3), "against FP32, not against full"
    assert found["full"][-1] == 1


def test_paper_columns(rows: list[Table2Row]) -> None:
    frame = to_frame(rows).set_index("config")
    columns = ["paper_int8_top1", "paper_gap_points", "paper_printed_gap_points", "paper_size_mb"]
    assert list(frame.loc["dwpw", columns]) == [92.29, -3.2, -2.82, 2.64]
    assert list(frame.loc["dwpw_asym", columns]) == [93.25, -2.24, -2.46, 2.64]
    assert list(frame.loc["tensor", columns])[:2] == [44.18, -51.31]
    assert frame.loc["mine"].filter(like="paper_").isna().all()


def test_paper_figures_go_with_the_experiment_not_with_the_name(params: Params, evidence: Evidence) -> None:
    coarse = dataclasses.replace(params.qat["full"].weights, granularity="tensor")
    qat = {"full": dataclasses.replace(params.qat["full"], weights=coarse), "mine": params.qat["full"]}
    rows = table2(list_configurations({}, qat, ()), evidence, read_paper(), "plain")
    assert [row.paper.int8_top1 for row in rows] == [None, None, 92.98]
    assert rows[1].paper == PaperFigures()


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


def test_fewer_than_8_bits_are_simulated(rows: list[Table2Row]) -> None:
    simulated = to_frame(rows).set_index("config")["simulated"]
    assert simulated.to_dict() == {row.config: row.config == "mine" for row in rows}


def test_accuracy_points_leave_out_what_has_no_accuracy(rows: list[Table2Row]) -> None:
    assert list(accuracy_points(rows)["config"]) == ["tensor", "channel", "full", "dwpw", "dwpw_asym", "mine"]
