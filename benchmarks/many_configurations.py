"""The checkout's pipeline with any number of QAT configurations, in which only the tables are really made.

Every other stage copies outputs that were made up beforehand, so that what is measured is what DVC and the tables cost,
and not training. Dependencies, parameters and outputs are those of the checkout's `dvc.yaml`.
"""

import copy
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import yaml

from selectq.study import SOURCES, mirror
from selectq.team.dvc import COMMAND, stage_environment

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "tests" / "tables")]
import made_up  # noqa: E402
from pipeline_deps import output_paths  # noqa: E402

TEMPLATE = "dwpw"
"""The made-up configuration that further ones are copies of."""

REAL_STAGES = ("table",)

COPY = """
for path in "$@"; do
    rm -rf "$path"
    mkdir -p "$(dirname "$path")"
    if [ -e "made/$path" ]; then
        cp -R "made/$path" "$path"
    elif [ "${path##*.}" != "$path" ]; then
        echo "$path" > "$path"
    else
        mkdir -p "$path"
        for format in onnx pt2 pte; do echo "$path $format" > "$path/program.$format"; done
    fi
done
"""
"""A stage: copies what is made up for a path, or else writes the path into it; a folder gets three files."""


@dataclass(frozen=True)
class Pipeline:
    """A repository under git, its pipeline as wide as its parameters say."""

    root: Path

    def dvc(self, *arguments: str, limit_s: int | None = None) -> float:
        """The CPU seconds of a DVC command and what it runs.

        Raises:
            subprocess.CalledProcessError: it fails.
            subprocess.TimeoutExpired: it takes more than `limit_s` CPU seconds.
        """
        return run_measured([*COMMAND, *arguments], self.root, limit_s)

    def commit(self) -> None:
        """Commit everything to git."""
        for command in (["add", "--all"], ["commit", "--quiet", "--allow-empty", "--message", "measured"]):
            identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
            subprocess.run(["git", *identity, *command], cwd=self.root, check=True)

    def widen(self, configurations: int) -> None:
        """Have so many configurations of QAT from now on, with made-up metrics of each."""
        parameters = wide_parameters(configurations)
        (self.root / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
        multiply(self.root / "made", parameters["qat"])

    def stages(self) -> int:
        """How many stages there are."""
        listed = subprocess.run(
            [*COMMAND, "stage", "list", "--name-only"], cwd=self.root, capture_output=True, text=True, check=True
        )
        return len(listed.stdout.split())


def make_pipeline(root: Path, configurations: int) -> Pipeline:
    """A new repository with nothing run yet; at least the made-up run's four configurations."""
    for source in SOURCES:
        mirror(CHECKOUT / source, root / source)
    ignored = (CHECKOUT / ".gitignore").read_text(encoding="utf-8")
    (root / ".gitignore").write_text(f"{ignored}/made/\n", encoding="utf-8")
    (root / "copy.sh").write_text(COPY, encoding="utf-8")
    (root / "dvc.yaml").write_text(yaml.safe_dump(_copying(root / "dvc.yaml"), sort_keys=False), encoding="utf-8")
    made_up.write_metrics(root / "made")
    pipeline = Pipeline(root)
    pipeline.widen(configurations)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], cwd=root, check=True)
    pipeline.commit()
    return pipeline


def without_modules(pipeline: Pipeline) -> None:
    """Drop the stages' dependencies on the package's modules."""
    path = pipeline.root / "dvc.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for body in map(_body, document["stages"].values()):
        body["deps"] = [dependency for dependency in body["deps"] if not dependency.startswith("src/")]
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def wide_parameters(configurations: int) -> dict[str, Any]:
    """The made-up run's parameters with `configurations` entries under `qat`, all of them converted."""
    parameters = made_up.parameters(CHECKOUT)
    copies = (f"copy{number}" for number in range(len(parameters["qat"]), configurations))
    parameters["qat"] |= {name: copy.deepcopy(parameters["qat"][TEMPLATE]) for name in copies}
    parameters["convert"] = [*parameters["ptq"], *parameters["qat"]]
    return parameters


def multiply(made: Path, names: Iterable[str]) -> None:
    """Write the template's metrics under every name that has none yet."""
    templates = {path: path.read_text(encoding="utf-8") for path in (made / "metrics").rglob(f"{TEMPLATE}.*")}
    for name in names:
        for path, text in templates.items():
            target = path.with_name(path.name.replace(TEMPLATE, name, 1))
            if not target.exists():
                target.write_text(re.sub(rf"^{TEMPLATE},", f"{name},", text, flags=re.MULTILINE), encoding="utf-8")
    compared = made / "results"
    for path in (compared / "paired.csv", compared / "methods.csv"):  # of all configurations, row by row
        table = pd.read_csv(path)
        rows = table[table["config"] == TEMPLATE]
        new = [rows.assign(config=name) for name in names if name not in set(table["config"])]
        pd.concat([table, *new]).to_csv(path, index=False)


def copy_metrics(pipeline: Pipeline) -> None:
    """Write what the tables read."""
    shutil.copytree(pipeline.root / "made", pipeline.root, dirs_exist_ok=True)


def copy_outputs(pipeline: Pipeline) -> None:
    """Write the outputs of every stage but the tables."""
    from dvc.repo import Repo  # noqa: PLC0415  # seconds that a test of the rest does without

    with chdir(pipeline.root), Repo() as repo:
        for stage in repo.index.stages:
            if "copy.sh" in stage.cmd:
                run_measured(["sh", "-c", stage.cmd], pipeline.root, None)


def record(pipeline: Pipeline) -> None:
    """Leave cache, run cache and lock as `dvc repro` would, for every stage whose outputs are there.

    `dvc repro` writes the whole lock after each stage; here it is written once.
    """
    from dvc.repo import Repo  # noqa: PLC0415

    with chdir(pipeline.root), Repo() as repo, _parameters_read_once():  # the run cache wants the folder
        stages = [stage for stage in repo.index.stages if all(out.exists for out in stage.outs)]
        with repo.lock:
            for stage in stages:
                stage.save()
                stage.commit()
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def _parameters_read_once() -> Any:
    """DVC reads `params.yaml` several times for each stage, which takes hours at a thousand configurations."""
    from dvc.dependency import param  # noqa: PLC0415

    return patch.object(param, "load_path", functools.cache(param.load_path))


LIMITED = 'ulimit -t "$0"; exec "$@"'
"""Of CPU time, not of time: a busy machine stops nothing."""


def run_measured(command: list[str], folder: Path, limit_s: int | None) -> float:
    """Run a command in `folder`, without its output; its CPU seconds, with those of what it runs.

    Raises:
        subprocess.CalledProcessError: it fails.
        subprocess.TimeoutExpired: it takes more than `limit_s` CPU seconds, or a process that it starts does.
    """
    before = os.times()
    limit = "unlimited" if limit_s is None else str(limit_s)
    done = subprocess.run(
        ["sh", "-c", LIMITED, limit, *command],
        cwd=folder,
        env=stage_environment(folder) | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    after = os.times()
    if limit_s is not None and -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        raise subprocess.TimeoutExpired(command, limit_s)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, stderr=done.stderr)
    return after.children_user + after.children_system - before.children_user - before.children_system


def _copying(path: Path) -> dict[str, Any]:
    """A `dvc.yaml` with `COPY` for every command but those of `REAL_STAGES`."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, stage in document["stages"].items():
        if name not in REAL_STAGES:
            _body(stage)["cmd"] = " ".join(["sh", "copy.sh", *output_paths(_body(stage))])
    del document["artifacts"]
    return document


def _body(stage: dict[str, Any]) -> dict[str, Any]:
    """What `foreach` repeats, or the stage itself."""
    body: dict[str, Any] = stage.get("do", stage)
    return body
