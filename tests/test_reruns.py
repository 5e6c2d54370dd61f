"""What an edit reruns, found out by DVC itself on the checkout's dvc.yaml with trivial commands."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trivial_pipeline import CHECKOUT, FEW, Repository, set_parameter, write_repository

PTQ = {f"ptq@{name}" for name in FEW["ptq"]}
DRIFT = {f"drift@{name}" for name in FEW["convert"]}
CAUSES = {f"causes@{name}" for name in FEW["convert"]}
QAT = {f"qat@{name}" for name in FEW["qat"]}
CONVERT = {f"convert@{name}" for name in FEW["convert"]}
PARITY = {f"parity@{name}" for name in FEW["convert"]}
TABLES = {"compare", "table"}
REPEATS = {f"repeat@{name}-{seed}" for name in ("dw", "clf") for seed in (1, 2)}
CARDS = {f"card@{name}" for name in FEW["ship"]}
MEASURED = ("drift", "causes", "convert", "parity")
BEHIND_QAT = {f"{stage}@{name}" for stage in MEASURED for name in FEW["qat"]} | CARDS | TABLES
BEHIND_PTQ = {f"{stage}@{name}" for stage in ("convert", "parity") for name in FEW["ptq"]} | {"calibration"} | TABLES
BEHIND_CONVERT = PARITY | CARDS | TABLES
QUANTIZED = PTQ | DRIFT | CAUSES | QAT | CONVERT | BEHIND_CONVERT
BEHIND_PARENT = {"ranges", "calibration"} | QUANTIZED
AUDIT = {"audit", "table"}
TRAINED = {"finetune_fp32"} | AUDIT | BEHIND_PARENT
EVERYTHING = {"download"} | TRAINED

SOURCE_EDITS = {
    "stages/table.py": {"table"},
    "src/selectq/audit/flaws.py": AUDIT,
    "src/selectq/data/split.py": EVERYTHING,
    "src/selectq/export/onnx_program.py": CONVERT | BEHIND_CONVERT,
    "src/selectq/parity/gate.py": BEHIND_CONVERT,
    "src/selectq/quantization/fake_quantize.py": AUDIT | BEHIND_PARENT,
    "src/selectq/quantization/repairs/equalization.py": PTQ | DRIFT | CAUSES | BEHIND_PTQ | QAT | BEHIND_QAT,
    "src/selectq/statistics/paired.py": TABLES,
    "src/selectq/tables/recipe.py": CARDS,
    "src/selectq/training/qat.py": QAT | BEHIND_QAT,
}
"""Edited file -> stages that rerun."""

HARMLESS = ("stages/_src.py", "src/selectq/params/configs.py", "src/selectq/stage.py", "src/selectq/study.py")
"""Files that cannot change what a stage writes."""

SOURCES = (*SOURCE_EDITS, *HARMLESS)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which every stage has run; to be copied, not changed."""
    repository = write_repository(tmp_path_factory.mktemp("pipeline"), SOURCES)
    cache = tmp_path_factory.mktemp("cache")  # shared by the copies: what is not in the cache would be run again
    (repository.root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    assert repository.repro() == EVERYTHING
    return repository


@pytest.fixture
def repository(reproduced: Repository, tmp_path: Path) -> Repository:
    """A fresh copy of the reproduced repository."""
    shutil.copytree(reproduced.root, tmp_path / "copy", ignore=shutil.ignore_patterns("tmp"))
    return Repository(tmp_path / "copy")


def _add_configuration(parameters: dict[str, Any]) -> None:
    parameters["qat"]["mine"] = {**parameters["qat"]["dw"], "scope": ["stem"]}
    parameters["convert"].append("mine")


def _repeat(parameters: dict[str, Any]) -> None:
    parameters["repeat"] = {"names": ["dw", "clf"], "seeds": [1, 2]}


def _remove_configuration(parameters: dict[str, Any]) -> None:
    del parameters["qat"]["clf"]
    parameters["convert"].remove("clf")


@pytest.mark.parametrize(
    ("edit", "rerun"),
    [
        pytest.param(set_parameter("seed", 7), TRAINED, id="seed"),
        pytest.param(set_parameter("data.split_seed", 7), EVERYTHING, id="data.split_seed"),
        pytest.param(set_parameter("finetune.epochs", 99), TRAINED, id="finetune.epochs"),
        pytest.param(set_parameter("range_skew", 0.77), BEHIND_PARENT, id="range_skew"),
        pytest.param(
            set_parameter("ptq.tensor.calibration.images", 77),
            {"ptq@tensor", "calibration", *(f"{stage}@tensor" for stage in MEASURED)} | TABLES | CARDS,
            id="ptq.tensor",
        ),
        pytest.param(set_parameter("calibration_sweep.images", [77]), {"calibration", "table"}, id="calibration_sweep"),
        pytest.param(
            set_parameter("drift.inspect", ["features.2.conv.0.0"]), {"ranges", "table"} | DRIFT, id="drift.inspect"
        ),
        pytest.param(set_parameter("audit.images", 77), AUDIT, id="audit"),
        pytest.param(set_parameter("drift.images", 77), {"table"} | DRIFT, id="drift.images"),
        pytest.param(set_parameter("drift.histogram_images", 77), {"table"} | DRIFT, id="drift.histogram_images"),
        pytest.param(set_parameter("drift.cause_images", 77), {"table"} | CAUSES, id="drift.cause_images"),
        pytest.param(set_parameter("qat_training.batch_size", 77), QAT | BEHIND_QAT, id="qat_training"),
        pytest.param(
            set_parameter("qat.dw.lr", 0.00077),
            {"qat@dw", *(f"{stage}@dw" for stage in MEASURED)} | TABLES | CARDS,
            id="qat.dw.lr",
        ),
        pytest.param(set_parameter("formats", ["onnx"]), CONVERT | BEHIND_CONVERT, id="formats"),
        pytest.param(set_parameter("parity.flipped_pct", 0.2), BEHIND_CONVERT, id="parity"),
        pytest.param(set_parameter("statistics.margin_points", 0.7), TABLES, id="statistics"),
        pytest.param(set_parameter("regime", "other"), {"table"}, id="regime"),
        pytest.param(_repeat, REPEATS | TABLES, id="repeat"),
        pytest.param(
            _add_configuration,
            {"qat@mine", *(f"{stage}@mine" for stage in MEASURED)} | TABLES | CARDS,
            id="configuration-added",
        ),
        pytest.param(_remove_configuration, TABLES | CARDS, id="configuration-removed"),
    ],
)
def test_parameter_edit_reruns(repository: Repository, edit: Callable[[dict[str, Any]], None], rerun: set[str]) -> None:
    repository.edit_parameters(edit)
    assert repository.repro() == rerun


@pytest.mark.parametrize(("path", "rerun"), SOURCE_EDITS.items())
def test_source_edit_reruns(repository: Repository, path: str, rerun: set[str]) -> None:
    _edit(repository, path)
    assert repository.repro() == rerun


def test_harmless_edits_rerun_nothing(repository: Repository) -> None:
    """Neither code that cannot change an output, nor comments and order in params.yaml."""
    for path in HARMLESS:
        _edit(repository, path)
    reordered = dict(sorted(FEW.items()))
    (repository.root / "params.yaml").write_text("# a comment\n" + yaml.safe_dump(reordered, sort_keys=True))
    assert repository.repro() == set()


def test_group_is_run_without_what_does_not_lead_to_it(repository: Repository) -> None:
    repository.edit_parameters(set_parameter("range_skew", 0.77))
    assert repository.repro("qat") == QAT


def test_comparisons_run_once_every_stage_has_put_its_logits_into_the_folder(repository: Repository) -> None:
    """Were they run between two of these stages, the folder would have changed since."""
    repository.edit_parameters(_repeat)
    assert repository.repro("compare") == REPEATS | {"compare"}
    assert repository.repro("compare") == set()


def test_lock_answers_for_a_fresh_clone(tmp_path: Path) -> None:
    """What `.ci/run` relies on: with no output at hand, `--allow-missing` finds nothing stale, and sees an edit.

    The .gitignore files that DVC writes beside outputs would be content of the folders that `table` depends on.
    """
    work = write_repository(tmp_path / "work", SOURCES)
    work.write(".dvc/.gitignore", "/cache\n/tmp\n")
    work.write(".dvc/config", "")
    work.git("init", "--quiet")
    work.repro()
    work.git("add", "--all")
    work.git("checkout-index", "--all", f"--prefix={tmp_path}/clone/")
    clone = Repository(tmp_path / "clone")
    clone.write(".dvc/config", "[core]\n    no_scm = true\n")
    assert not (clone.root / "models" / "fp32.safetensors").exists()
    assert clone.repro("--dry", "--allow-missing") == set()

    _edit(clone, "stages/convert.py")
    stale = clone.dvc("repro", "--dry", "--allow-missing")
    assert stale.returncode != 0 or "Running stage 'convert@dw'" in stale.stdout


def _edit(repository: Repository, path: str) -> None:
    assert (CHECKOUT / path).is_file(), "the edit is of no file of the checkout"
    repository.write(path, "edited")
