"""The checkout's pipeline in which no stage does real work: what DVC makes of it, in seconds."""

import contextlib
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dvc.cli
import dvc.logger
import yaml
from dvc.repo import Repo
from pipeline_deps import output_paths, read_stages
from stage_process import Ended, run_copied

from selectq.cli.main import main
from selectq.config.load import read_yaml

CHECKOUT = Path(__file__).resolve().parents[1]
PARAMETERS = read_yaml(CHECKOUT / "params.yaml")
SELECTQ = Path(sys.executable).parent / "selectq"
ENVIRONMENT = {
    **os.environ,
    "DVC_NO_ANALYTICS": "1",
    "PATH": os.pathsep.join([str(SELECTQ.parent), os.environ.get("PATH", os.defpath)]),  # as in an activated .venv
    "SHELL": "/bin/sh",
    "PYTHONPATH": str(CHECKOUT / "src"),
    "PYTHONWARNINGS": "ignore",
}


def with_configurations(*names: str) -> dict[str, Any]:
    """The parameters with these configurations alone: DVC's time goes with the square of the number of stages."""
    ptq, qat = ({name: body for name, body in PARAMETERS[each].items() if name in names} for each in ("ptq", "qat"))
    statistics = {**PARAMETERS["statistics"], "contrasts": ["dw - channel"]}
    others = {"convert": [*names], "ship": ["dw"], "repeat": {"names": [], "seeds": []}}
    plan = {**PARAMETERS["plan"], "ptq": ["channel"], "start": "channel"}
    return {**PARAMETERS, "ptq": ptq, "qat": qat, "plan": plan, "statistics": statistics, **others}


FEW = with_configurations("channel", "clf", "dw")


STAGE = """
import json, sys, uuid
from pathlib import Path
from selectq.stage import refuse_unless_it_may_run, run

refuse_unless_it_may_run()

def main():
    content = uuid.uuid4().hex  # something new, so that every change spreads, and work done twice shows
    for path in map(Path, sys.argv[1:]):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"{content} {path}"
        path.write_text(json.dumps({"value": int(content, 16) % 10**6}) if path.suffix == ".json" else text)

run(main)
"""
"""A stage that writes something new to every output."""


@dataclass(frozen=True)
class Repository:
    """A DVC repository with the pipeline of the checkout, in which no stage does real work."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))

    def repro(self, *stages: str, **options: bool) -> set[str]:
        """As `dvc repro`, in this process; the full names of the stages that were run, or restored from the cache."""
        with self.opened() as repo:
            return {stage.addressing for stage in repo.reproduce(stages, run_env=self.environment, **options)}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Repo]:
        """DVC's view of the repository, with its root as the current folder."""
        with contextlib.chdir(self.root), warnings.catch_warnings(action="ignore"), Repo() as repo:
            yield repo

    def dvc(self, *arguments: str) -> Ended:
        return self._run("dvc", dvc.cli.main, arguments)

    def edit_parameters(self, edit: Callable[[dict[str, Any]], None]) -> None:
        before, parameters = (yaml.safe_load(self.read("params.yaml")) for _ in range(2))
        edit(parameters)
        assert parameters != before, "the edit changes nothing"
        self.write("params.yaml", yaml.safe_dump(parameters, sort_keys=False))

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
        result = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"git {arguments}: {result.stdout}{result.stderr}"
        return result.stdout

    def selectq(self, *arguments: str) -> Ended:
        return self._run("selectq", main, arguments)

    def _run(self, name: str, command: Callable[[], int | None], arguments: tuple[str, ...]) -> Ended:
        """A command in a copy of this process: it is told its streams anew, which DVC's messages go to."""

        def work() -> None:
            sys.argv = [name, *arguments]
            for package in ("dvc", "dvc_objects", "dvc_data"):
                logging.getLogger(package).handlers.clear()
            dvc.logger.setup()
            sys.exit(command())

        return run_copied(work, self.root, self.environment)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def write(self, path: str, content: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def write_repository(root: Path, sources: Iterable[str] = (), parameters: Mapping[str, Any] = FEW) -> Repository:
    """The checkout's pipeline with nothing run yet.

    Of the sources that stages depend on, only those in `sources`, folders or files, are there: the others only cost DVC
    time.
    """
    kept = set(sources)
    document = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())
    document["stages"].pop("check", None)  # it runs after every edit of the parameters, and nothing follows from it
    for name, body in document["stages"].items():
        document["stages"][name] = {**body, "do": _trivial(body["do"], kept)} if "do" in body else _trivial(body, kept)
    del document["plots"], document["artifacts"]
    repository = Repository(root)
    for path in [*kept, *(stage.script for stage in read_stages(CHECKOUT).values())]:
        repository.write(path if Path(path).suffix else f"{path}/module.py", "as committed")
    repository.write("pyproject.toml", "[project]\ndependencies = []\n")
    repository.write("trivial.py", STAGE)
    repository.write("dvc.yaml", yaml.safe_dump(document, sort_keys=False))
    repository.write("params.yaml", yaml.safe_dump(parameters, sort_keys=False))
    repository.write("benchmarks/results/int8.csv", "case")
    repository.write("profiles/some.yaml", "seed: 1\n")
    for path in (".dvcignore", ".gitignore", ".gitattributes"):
        repository.write(path, (CHECKOUT / path).read_text())
    repository.write(".dvc/config", "[core]\n    no_scm = true\n")
    return repository


def _trivial(body: dict[str, Any], kept: set[str]) -> dict[str, Any]:
    """The stage with `STAGE` for a command."""
    files = [path if Path(path).suffix else f"{path}/file.txt" for path in output_paths(body)]
    dependencies = [path for path in body["deps"] if not path.startswith("src/") or path in kept]
    return {**body, "cmd": " ".join([sys.executable, "trivial.py", *files]), "deps": dependencies}


def set_parameter(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of one parameter, named by its dotted key."""

    def edit(parameters: dict[str, Any]) -> None:
        *sections, name = key.split(".")
        for section in sections:
            parameters = parameters[section]
        assert name in parameters, key
        parameters[name] = value

    return edit
