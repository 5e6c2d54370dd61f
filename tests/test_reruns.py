"""What an edit reruns, found out by DVC itself on the checkout's dvc.yaml with trivial commands."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipeline_deps import output_paths, read_stages

from selectq.params.load import read_yaml

CHECKOUT = Path(__file__).resolve().parents[1]
PARAMETERS = read_yaml(CHECKOUT / "params.yaml")


def _with_few_configurations(parameters: dict[str, Any]) -> dict[str, Any]:
    """Two configurations of QAT instead of all: DVC's time goes with the square of the number of stages."""
    qat = {name: parameters["qat"][name] for name in ("clf", "dw")}
    return {**parameters, "qat": qat, "convert": [*parameters["ptq"], *qat], "ship": ["dw"]}


FEW = _with_few_configurations(PARAMETERS)

PTQ = {f"ptq@{name}" for name in FEW["ptq"]}
QAT = {f"qat@{name}" for name in FEW["qat"]}
CONVERT = {f"convert@{name}" for name in FEW["convert"]}
PARITY = {f"parity@{name}" for name in FEW["convert"]}
CARDS = {f"card@{name}" for name in FEW["ship"]}
BEHIND_QAT = {f"{stage}@{name}" for stage in ("convert", "parity") for name in FEW["qat"]} | CARDS | {"table"}
BEHIND_CONVERT = PARITY | CARDS | {"table"}
QUANTIZED = PTQ | {"drift"} | QAT | CONVERT | BEHIND_CONVERT
TRAINED = {"finetune_fp32"} | QUANTIZED
EVERYTHING = {"download"} | TRAINED

SOURCE_EDITS = {
    "stages/table.py": {"table"},
    "src/selectq/data/split.py": EVERYTHING,
    "src/selectq/export/onnx_program.py": CONVERT | BEHIND_CONVERT,
    "src/selectq/parity/gate.py": BEHIND_CONVERT,
    "src/selectq/quantization/fake_quantize.py": QUANTIZED,
    "src/selectq/tables/recipe.py": CARDS,
    "src/selectq/training/qat.py": QAT | BEHIND_QAT,
}
"""Edited file -> stages that rerun."""

HARMLESS = ("stages/_src.py", "src/selectq/params/configs.py", "src/selectq/stage.py", "src/selectq/study.py")
"""Files that cannot change what a stage writes."""


@dataclass(frozen=True)
class Repository:
    """A DVC repository with the pipeline of the checkout, in which no stage does real work."""

    root: Path

    def repro(self, *options: str) -> set[str]:
        """Run `dvc repro`; the full names of the stages that were run, or restored from the cache."""
        result = self.dvc("repro", *options)
        assert result.returncode == 0, result.stdout + result.stderr
        return set(re.findall(r"^(?:Running stage|Stage) '(\S+)'(?::| is cached)", result.stdout, re.MULTILINE))

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "dvc", *arguments]
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh"}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def edit_parameters(self, edit: Callable[[dict[str, Any]], None]) -> None:
        parameters = copy.deepcopy(FEW)
        edit(parameters)
        assert parameters != FEW, "the edit changes nothing"
        (self.root / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))

    def edit_source(self, path: str) -> None:
        assert (CHECKOUT / path).is_file(), "the edit is of no file of the checkout"
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("edited")


def _trivial(body: dict[str, Any]) -> dict[str, Any]:
    """The stage with a command that writes something new to every output, so that every change spreads.

    Of the sources it depends on, those that no test edits are left out: they only cost DVC time.
    """
    files = [path if Path(path).suffix else f"{path}/file.txt" for path in output_paths(body)]
    folders = sorted({str(Path(file).parent) for file in files})
    dependencies = [path for path in body["deps"] if not path.startswith("src/") or path in (*SOURCE_EDITS, *HARMLESS)]
    command = f"mkdir -p {' '.join(folders)} && mktemp -u | tee {' '.join(files)}"
    return {**body, "cmd": command, "deps": dependencies}


def _write_repository(root: Path) -> Repository:
    """The checkout's pipeline with nothing run yet; the sources' content does not matter, only that it changes."""
    document = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())
    for name, body in document["stages"].items():
        document["stages"][name] = {**body, "do": _trivial(body["do"])} if "do" in body else _trivial(body)
    del document["plots"], document["artifacts"]
    scripts = [stage.script for stage in read_stages(CHECKOUT).values()]
    contents = dict.fromkeys([*SOURCE_EDITS, *HARMLESS, *scripts], "as committed") | {
        "dvc.yaml": yaml.safe_dump(document, sort_keys=False),
        "params.yaml": yaml.safe_dump(FEW, sort_keys=False),
        "benchmarks/results/int8.csv": "case",
        ".dvcignore": (CHECKOUT / ".dvcignore").read_text(),
        ".dvc/config": "[core]\n    no_scm = true\n",
    }
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return Repository(root)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which every stage has run; to be copied, not changed."""
    repository = _write_repository(tmp_path_factory.mktemp("pipeline"))
    cache = tmp_path_factory.mktemp("cache")  # shared by the copies: what is not in the cache would be run again
    (repository.root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    assert repository.repro() == EVERYTHING
    return repository


@pytest.fixture
def repository(reproduced: Repository, tmp_path: Path) -> Repository:
    """A fresh copy of the reproduced repository."""
    shutil.copytree(reproduced.root, tmp_path / "copy", ignore=shutil.ignore_patterns("tmp"))
    return Repository(tmp_path / "copy")


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of one parameter, named by its dotted key."""

    def edit(parameters: dict[str, Any]) -> None:
        *sections, name = key.split(".")
        for section in sections:
            parameters = parameters[section]
        assert name in parameters, key
        parameters[name] = value

    return edit


def _add_configuration(parameters: dict[str, Any]) -> None:
    parameters["qat"]["mine"] = {**parameters["qat"]["dw"], "scope": ["stem"]}
    parameters["convert"].append("mine")


def _remove_configuration(parameters: dict[str, Any]) -> None:
    del parameters["qat"]["clf"]
    parameters["convert"].remove("clf")


@pytest.mark.parametrize(
    ("edit", "rerun"),
    [
        pytest.param(_set("seed", 7), TRAINED, id="seed"),
        pytest.param(_set("data.split_seed", 7), EVERYTHING, id="data.split_seed"),
        pytest.param(_set("finetune.epochs", 99), TRAINED, id="finetune.epochs"),
        pytest.param(_set("range_skew", 0.77), QUANTIZED, id="range_skew"),
        pytest.param(
            _set("ptq.tensor.calibration.images", 77),
            {"ptq@tensor", "drift", "convert@tensor", "parity@tensor", "table"} | CARDS,
            id="ptq.tensor",
        ),
        pytest.param(_set("drift.inspect", ["features.2.conv.0.0"]), {"drift", "table"}, id="drift.inspect"),
        pytest.param(_set("qat_training.batch_size", 77), QAT | BEHIND_QAT, id="qat_training"),
        pytest.param(
            _set("qat.dw.lr", 0.00077), {"qat@dw", "convert@dw", "parity@dw", "table"} | CARDS, id="qat.dw.lr"
        ),
        pytest.param(_set("formats", ["onnx"]), CONVERT | BEHIND_CONVERT, id="formats"),
        pytest.param(_set("parity.flipped_pct", 0.2), BEHIND_CONVERT, id="parity"),
        pytest.param(
            _add_configuration,
            {"qat@mine", "convert@mine", "parity@mine", "table"} | CARDS,
            id="configuration-added",
        ),
        pytest.param(_remove_configuration, {"table"} | CARDS, id="configuration-removed"),
    ],
)
def test_parameter_edit_reruns(repository: Repository, edit: Callable[[dict[str, Any]], None], rerun: set[str]) -> None:
    repository.edit_parameters(edit)
    assert repository.repro() == rerun


@pytest.mark.parametrize(("path", "rerun"), SOURCE_EDITS.items())
def test_source_edit_reruns(repository: Repository, path: str, rerun: set[str]) -> None:
    repository.edit_source(path)
    assert repository.repro() == rerun


def test_harmless_edits_rerun_nothing(repository: Repository) -> None:
    """Neither code that cannot change an output, nor comments and order in params.yaml."""
    for path in HARMLESS:
        repository.edit_source(path)
    reordered = dict(sorted(FEW.items()))
    (repository.root / "params.yaml").write_text("# a comment\n" + yaml.safe_dump(reordered, sort_keys=True))
    assert repository.repro() == set()


def test_group_is_run_without_what_does_not_lead_to_it(repository: Repository) -> None:
    repository.edit_parameters(_set("range_skew", 0.77))
    assert repository.repro("qat") == QAT


def test_lock_answers_for_a_fresh_clone(tmp_path: Path) -> None:
    """What `.ci/run` relies on: with no output at hand, `--allow-missing` finds nothing stale, and sees an edit.

    The .gitignore files that DVC writes beside outputs would be content of the folders that `table` depends on.
    """
    work = _write_repository(tmp_path / "work")
    (work.root / ".gitignore").write_text((CHECKOUT / ".gitignore").read_text() + "/.dvc/cache\n/.dvc/tmp\n")
    (work.root / ".dvc" / "config").write_text("")
    _git(work.root, "init", "--quiet")
    work.repro()
    _git(work.root, "add", "--all")
    _git(work.root, "checkout-index", "--all", f"--prefix={tmp_path}/clone/")
    clone = Repository(tmp_path / "clone")
    (clone.root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    assert not (clone.root / "models" / "fp32.safetensors").exists()
    assert clone.repro("--dry", "--allow-missing") == set()

    clone.edit_source("stages/convert.py")
    stale = clone.dvc("repro", "--dry", "--allow-missing")
    assert stale.returncode != 0 or "Running stage 'convert@dw'" in stale.stdout


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)
