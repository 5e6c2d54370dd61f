"""What an edit reruns: by what dvc.yaml declares, and by DVC itself on the same pipeline with trivial commands."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.exceptions import DvcException
from pipeline_deps import Stage, expand_stages
from trivial_pipeline import CHECKOUT, set_parameter, with_configurations, write_repository

FEW = with_configurations("tensor", "channel", "clf", "dw")
STAGES = expand_stages(CHECKOUT, FEW)


def named(*stages: str, of: str = "convert") -> set[str]:
    """The stages of every configuration in a section."""
    return {f"{stage}@{name}" for stage in stages for name in FEW[of]}


TABLES, AUDIT, CARDS = {"compare", "table"}, {"audit", "table"}, named("card", of="ship")
PLAN = {"plan", "auto"} | TABLES
SCORED = {"sensitivity"} | PLAN
CONVERTED = named("convert") | TABLES | CARDS
QAT = named("qat", of="qat") | named("drift", "convert", of="qat") | PLAN | CARDS
SWEEP = {f"calibration@{name}" for name in FEW["calibration_sweep"]["names"]} | {"table"}
QUANTIZED = named("ptq", of="ptq") | named("qat", of="qat") | named("drift") | CONVERTED | SWEEP | SCORED | {"ranges"}
TRAINED = {"finetune_fp32"} | AUDIT | QUANTIZED
EVERYTHING = {"download"} | TRAINED


def reruns(is_edited: Callable[[Stage], bool], stages: Mapping[str, Stage] = STAGES) -> set[str]:
    """The stages that read what is edited, and those behind them, which read what they write."""
    found = {name for name, stage in stages.items() if is_edited(stage)}
    while True:
        written = [output for name in found for output in stages[name].outputs]
        behind = {name for name, stage in stages.items() if any(_read(stage, output) for output in written)}
        if behind <= found:
            return found
        found |= behind


def _read(stage: Stage, path: str) -> bool:
    return any(_within(path, dependency) or _within(dependency, path) for dependency in stage.dependencies)


def _within(path: str, folder: str, separator: str = "/") -> bool:
    return path == folder or path.startswith(folder + separator)


@pytest.mark.parametrize(
    ("key", "rerun"),
    [
        ("data.split_seed", EVERYTHING),
        ("seed", TRAINED),
        ("finetune.epochs", TRAINED),
        ("range_skew", QUANTIZED),
        ("ptq.tensor.calibration.images", {"ptq@tensor", "drift@tensor", "convert@tensor"} | PLAN | CARDS),
        ("ptq.channel.algorithms", {"ptq@channel", "drift@channel", "convert@channel"} | SWEEP | SCORED | CARDS),
        ("plan.max_loss_points", PLAN),
        ("plan.score_images", SCORED),
        ("calibration_sweep.images", SWEEP),
        ("audit.images", AUDIT),
        ("drift.cause_images", named("drift") | {"table"}),
        ("drift.inspect", named("drift") | {"table", "ranges"}),
        ("qat_training.batch_size", QAT),
        ("qat.dw.lr", {"qat@dw", "drift@dw", "convert@dw"} | TABLES | CARDS),
        ("formats", CONVERTED),
        ("export", CONVERTED),
        ("parity.flipped_pct", CONVERTED),
        ("statistics.margin_points", TABLES),
        ("statistics.confidence", PLAN),
        ("setting", {"table"}),
    ],
)
def test_parameter_edit_reruns(key: str, rerun: set[str]) -> None:
    set_parameter(key, None)(yaml.safe_load(yaml.safe_dump(FEW)))  # there is such a parameter
    assert reruns(lambda stage: any(_within(key, each, ".") for each in stage.parameters)) == rerun


@pytest.mark.parametrize(
    ("path", "rerun"),
    [
        ("stages/table.py", {"table"}),
        ("src/selectq/data/split.py", EVERYTHING | {"check"}),
        ("src/selectq/config/configs.py", EVERYTHING | {"check"}),
        ("src/selectq/analysis/flaws.py", AUDIT | named("drift") | {"ranges"}),
        ("src/selectq/quantization/fake_quantize.py", AUDIT | QUANTIZED | {"check"}),
        ("src/selectq/export/onnx.py", CONVERTED),
        ("src/selectq/parity/gate.py", CONVERTED),
        ("src/selectq/statistics/paired.py", PLAN | CARDS),
        ("src/selectq/selection/allocation.py", SCORED | {"check"}),
        ("src/selectq/report/recipe.py", {"table"} | CARDS),
        ("src/selectq/report/plan.py", {"table"} | CARDS),
        ("src/selectq/kernels/forward.py", TRAINED),
        ("src/selectq/stage.py", set()),
        ("src/selectq/study.py", set()),
        ("src/selectq/cli/predict.py", set()),
    ],
)
def test_source_edit_reruns(path: str, rerun: set[str]) -> None:
    assert (CHECKOUT / path).is_file()
    assert reruns(lambda stage: any(_within(path, each) for each in stage.dependencies)) == rerun


def _add_configuration(parameters: dict[str, Any]) -> None:
    parameters["qat"]["mine"] = {**parameters["qat"]["dw"], "scope": ["stem"]}
    parameters["convert"].append("mine")
    parameters["repeat"] = {"names": ["dw"], "seeds": [1]}


def test_dvc_reruns_what_is_declared(tmp_path: Path) -> None:
    """And where the outputs are elsewhere, as on `.ci/run`, the lock answers for them, and an edit is seen."""
    source, parameters = "src/selectq/export", with_configurations("channel", "dw")
    repository, stages = write_repository(tmp_path / "work", [source], parameters), expand_stages(CHECKOUT, parameters)
    assert repository.repro() == stages.keys() - {"check"}
    repository.write(f"{source}/module.py", "edited")
    assert repository.repro() == reruns(lambda stage: source in stage.dependencies, stages)
    repository.edit_parameters(_add_configuration)
    assert repository.repro() == {"repeat@dw-1", "qat@mine", "drift@mine", "convert@mine"} | TABLES | CARDS
    (repository.root / "params.yaml").write_text("# a comment\n" + repository.read("params.yaml"))
    for path in ("models", "metrics", "data"):
        (repository.root / path).rename(tmp_path / path)
    assert repository.repro(dry=True, allow_missing=True) == set()
    repository.write(f"{source}/module.py", "edited again")
    with contextlib.suppress(DvcException):  # it may also fail at the first stale stage
        assert "convert@dw" in repository.repro(dry=True, allow_missing=True)


def test_edited_goal_reruns_the_plan_and_what_is_to_be_done_alone(tmp_path: Path) -> None:
    """A plan says at every run the same of what is to be done, until it does not."""
    parameters = with_configurations("channel", "dw")
    repository = write_repository(tmp_path / "work", (), parameters)
    document = yaml.safe_load(repository.read("dvc.yaml"))
    document["stages"]["plan"]["deps"].append("found")
    document["stages"]["plan"]["cmd"] += " && cp found models/plan.json"
    repository.write("dvc.yaml", yaml.safe_dump(document, sort_keys=False))
    repository.write("found", "nothing")
    repository.repro()
    repository.edit_parameters(set_parameter("plan.max_loss_points", 9.0))
    assert repository.repro() == {"plan", "table"}
    repository.write("found", "other layers")
    assert repository.repro() == {"plan", "auto", "compare", "table"}
