"""The growth of the pipeline: how it is made wide, what is extrapolated, and the plan for ImageNet."""

import subprocess
from pathlib import Path

import imagenet_plan
import many_configurations
import pandas as pd
import pipeline_growth
import pytest
import yaml
from imagenet_plan import Need
from many_configurations import TEMPLATE, Pipeline, multiply, run_measured, wide_parameters
from pipeline_growth import FIRST, PARSER, Recorder, Row, extrapolate, merged, power_of

from selectq.errors import UserError
from selectq.params.load import validate
from selectq.tables.evidence import read_evidence


def test_wide_parameters_are_valid_and_as_wide_as_asked() -> None:
    params = validate(wide_parameters(6), "made up")
    assert len(params.qat) == 6
    assert {*params.qat, *params.ptq} == set(params.convert)
    assert "&id" not in yaml.safe_dump(wide_parameters(6)), "an alias, which stages refuse"


def test_every_configuration_has_the_metrics_that_the_tables_read(tmp_path: Path) -> None:
    params = validate(wide_parameters(6), "made up")
    many_configurations.made_up.write_metrics(tmp_path)
    multiply(tmp_path, params.qat)
    evidence = read_evidence(tmp_path / "metrics", tmp_path / "results", params.ptq, params.qat, params.convert)
    assert set(evidence.learning["config"]) == {"fp32", *params.qat}
    assert evidence.int8["copy5"] == evidence.int8[TEMPLATE]


def test_stages_only_copy(tmp_path: Path) -> None:
    (tmp_path / "made/metrics").mkdir(parents=True)
    (tmp_path / "made/metrics/fp32.json").write_text("{}")
    (tmp_path / "copy.sh").write_text(many_configurations.COPY)
    run_measured(["sh", "copy.sh", "metrics/fp32.json", "models/int8/dw", "models/fp32.bin"], tmp_path, None)
    assert (tmp_path / "metrics/fp32.json").read_text() == "{}"
    assert sorted(path.suffix for path in (tmp_path / "models/int8/dw").iterdir()) == [".onnx", ".pt2", ".pte"]
    assert (tmp_path / "models/fp32.bin").read_text() == "models/fp32.bin\n"


def test_commands_are_measured_limited_and_may_fail(tmp_path: Path) -> None:
    assert run_measured(["sleep", "0.3"], tmp_path, None) < 0.3
    with pytest.raises(subprocess.CalledProcessError):
        run_measured(["false"], tmp_path, None)
    slow = Recorder(Pipeline(tmp_path), 10, 42, 1)
    (row,) = slow.cost("slow", lambda: run_measured(["sh", "-c", "while :; do :; done"], tmp_path, slow.limit_s))
    assert (row.value, row.how) == (None, "stopped after 1 CPU s")


@pytest.mark.slow
def test_recorded_pipeline_is_up_to_date(tmp_path: Path) -> None:
    pipeline = many_configurations.make_pipeline(tmp_path / "wide", 4)
    many_configurations.copy_outputs(pipeline)
    run_measured(["python", "stages/table.py"], pipeline.root, None)
    many_configurations.record(pipeline)
    lock = (pipeline.root / "dvc.lock").read_text()
    assert lock.count("cmd:") == pipeline.stages()
    pipeline.dvc("repro")
    assert (pipeline.root / "dvc.lock").read_text() == lock


def first_repro(configurations: int, stages: int, value: float | None) -> Row:
    return Row(configurations, stages, PARSER, FIRST, value, "CPU s", "measured")


def test_first_repro_is_extrapolated_by_a_power_law() -> None:
    assert power_of((10, 100), (5, 500)) == pytest.approx(2)
    rows = [
        first_repro(10, 50, 100.0),
        first_repro(30, 100, 400.0),
        Row(100, 1000, PARSER, "dvc.lock", 9.0, "bytes", "measured"),
    ]
    (row,) = extrapolate(merged(pd.DataFrame(), rows))
    assert (row.configurations, row.stages, row.value) == (100, 1000, pytest.approx(40_000))
    assert row.how == "extrapolated: 400 s at 100 stages, to the power 2.00 of their number"


def test_nothing_is_extrapolated_from_one_point() -> None:
    assert extrapolate(merged(pd.DataFrame(), [first_repro(10, 50, 100.0), first_repro(30, 100, None)])) == []


def test_rows_measured_anew_take_the_place_of_the_old() -> None:
    old = merged(pd.DataFrame(), [first_repro(30, 100, 1.0), first_repro(10, 50, 2.0)])
    table = merged(old, [first_repro(30, 102, 3.0)])
    assert table["configurations"].to_list() == [10, 30]
    assert table["value"].to_list() == [2.0, 3.0]


def test_sizes_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["pipeline_growth.py", "--sizes", "3", "--output", str(tmp_path)])
    with pytest.raises(UserError, match=r"^--sizes: 3 is out of range; allowed: 4 or more$"):
        pipeline_growth.main()
    assert not list(tmp_path.iterdir())


def by_name(needs: list[Need]) -> dict[tuple[str, str], float]:
    return {(need.name, need.unit): need.value for need in needs}


def test_plan_multiplies_out() -> None:
    found = by_name([*imagenet_plan.storage(), *imagenet_plan.training(), *imagenet_plan.others()])
    assert found["packed images", "GB"] == pytest.approx(200.4, abs=0.1)
    assert found["packed images, push or pull", "min"] == pytest.approx(200.4 / 0.125 / 60, abs=0.1)
    assert found["logits of one form", "MB"] == 200
    seconds = found["qat epoch", "h"] * 3600
    assert seconds * found["qat step", "images/s"] == pytest.approx(imagenet_plan.TRAIN_IMAGES)


@pytest.mark.slow
def test_rates_of_the_plan_are_measured(tmp_path: Path) -> None:
    found = by_name([*imagenet_plan.hashing(tmp_path, 2**22), *imagenet_plan.memory(tmp_path, (16, 32))])
    assert all(value > 0 for (_, unit), value in found.items() if unit in ("MB/CPU s", "MB/s", "min", "bytes"))
