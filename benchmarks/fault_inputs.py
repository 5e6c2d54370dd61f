"""Hostile files given to stages and commands as a user would give them.

A trial is survived if the file is refused in one line on standard error with exit status 2, within TIMEOUT_S and
LARGEST_MIB of memory, with nothing run from it and nothing written beside the folder of the trial.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fault_demo import Demo, last_line
from fault_files import (
    BOMBS,
    GROWING,
    NO_IMAGES,
    ONNX_PROGRAMS,
    OUTSIDE,
    SPRUNG,
    WEIGHTS,
    YAML_TEXTS,
    Maker,
    cifar10_archive,
    torch_programs,
)
from fault_trials import Fault, NotSurvivedError, Site, survived_as_it_is

from selectq.params.load import overlay, read_yaml
from selectq.team.dvc import COMMAND

TIMEOUT_S = 300
LARGEST_MIB = 2048
"""Resident; importing torch alone takes a quarter of it."""

DVC_BYTES = 2**32
DVC_TIMEOUT_S = 60
"""What DVC is given to read YAML that grows: by itself it would take all memory there is."""

IMAGES = "data/images.safetensors"
MODEL = "models/int8/channel/channel"

Prepare = Callable[[Demo, Path, Path], list[str]]
"""Puts what is needed beside a hostile file into its folder; the command to run there."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    errors: str
    resident_mib: float


def hostile_inputs(demo: Demo) -> Iterator[Fault]:
    """A row for every kind of hostile file."""
    program = (demo.workspace / MODEL).with_suffix(".pt2")
    yield _row("archive with links, devices or paths outside, to `download`", OUTSIDE, _to_download)
    yield _row("archive that unpacks to far more than it is, to `download`", BOMBS, _to_download)
    yield _row("image that is none, to `selectq predict`", NO_IMAGES, _to_predict)
    yield _row("code in starting weights, to `finetune_fp32`", WEIGHTS, _to_training)
    yield _row("code in CIFAR-10's pickles, to `download`", {"cifar-10-python.tar.gz": cifar10_archive}, _to_cifar10)
    yield _row("code or a library in a .pt2, to `selectq inspect`", torch_programs(program), _to_inspect)
    yield _row("ONNX file that reaches elsewhere, or is none, to `selectq inspect`", ONNX_PROGRAMS, _to_inspect)
    texts = {name: _text(text) for name, text in YAML_TEXTS.items()}
    yield _row("YAML with objects or that grows, as params.yaml, to a stage", texts, _to_stage)
    yield _row("YAML with objects or that grows, as a profile, to `selectq study`", texts, _to_study)
    growing = {name: texts[name] for name in GROWING}
    yield _row("YAML that grows, as params.yaml, to DVC itself", growing, _to_dvc)


def _row(name: str, files: Mapping[str, Maker], prepare: Prepare) -> Fault:
    def inject(site: Site, number: int) -> None:
        file, make = list(files.items())[number % len(files)]
        with tempfile.TemporaryDirectory(dir=site.demo.root) as outer:
            folder = Path(outer) / "inside"
            folder.mkdir()
            make(folder / file)
            command = prepare(site.demo, folder, folder / file)
            reason = fault_of(_run(command, folder, site.demo.environment()), Path(outer))
        if reason:
            raise NotSurvivedError(f"{file}: {reason}")

    return Fault(name, inject, len(files), survived_as_it_is)


def fault_of(ended: Ended, outer: Path) -> str:
    """What is wrong with how a command took a hostile file; nothing where it refused it as it ought to."""
    lines = ended.errors.splitlines()
    if ended.status != 2 or len(lines) != 1 or not lines[0].startswith("error: "):
        return f"exit status {ended.status}, {len(lines)} lines: {last_line(ended.errors)[:200]}"
    if ended.resident_mib > LARGEST_MIB:
        return f"took {ended.resident_mib:.0f} MiB"
    if [path.name for path in outer.iterdir()] != ["inside"] or list(outer.rglob(SPRUNG)):
        return "something was written"
    return ""


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> Ended:
    """Run a command to its end, or to the end of its time."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            ["timeout", "--signal=KILL", str(TIMEOUT_S), *command],
            cwd=folder,
            env={**environment, "SELECTQ_DATA": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        return Ended(process.returncode, errors.read(), usage.ru_maxrss / 1024)


def _stage(demo: Demo, folder: Path, changes: Mapping[str, Any], *arguments: str) -> list[str]:
    """A stage script in a folder with the demo's parameters, but for `changes`."""
    parameters = overlay(read_yaml(demo.workspace / "params.yaml"), changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters), encoding="utf-8")
    return [sys.executable, str(demo.workspace / "stages" / arguments[0]), *arguments[1:]]


def _to_download(demo: Demo, folder: Path, file: Path) -> list[str]:
    source = {"source": file.name, "archive_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return _stage(demo, folder, {"data": {"name": "imagefolder", "imagefolder": source}}, "download.py")


def _to_cifar10(demo: Demo, folder: Path, file: Path) -> list[str]:
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    return _stage(demo, folder, {"data": {"name": "cifar10", "cifar10": {"md5": digest}}}, "download.py")


def _to_training(demo: Demo, folder: Path, file: Path) -> list[str]:
    (folder / IMAGES).parent.mkdir()
    shutil.copy(demo.workspace / IMAGES, folder / IMAGES)
    weights = {"weights": file.name, "weights_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return _stage(demo, folder, {"model": weights}, "finetune_fp32.py")


def _to_predict(demo: Demo, folder: Path, file: Path) -> list[str]:
    return [_selectq(), "predict", str((demo.workspace / MODEL).with_suffix(".onnx")), file.name]


def _to_inspect(demo: Demo, folder: Path, file: Path) -> list[str]:
    return [_selectq(), "inspect", file.name]


def _to_stage(demo: Demo, folder: Path, file: Path) -> list[str]:
    file.rename(folder / "params.yaml")
    return [sys.executable, str(demo.workspace / "stages" / "ptq.py"), "--name", "tensor"]


def _to_study(demo: Demo, folder: Path, file: Path) -> list[str]:
    (folder / "profiles").mkdir()
    file.rename(folder / "profiles" / "hostile.yaml")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(demo.workspace / name, folder / name)
    return [_selectq(), "study", "hostile"]


def _to_dvc(demo: Demo, folder: Path, file: Path) -> list[str]:
    (folder / ".dvc").mkdir()
    shutil.copy(demo.workspace / ".dvc" / "config.local", folder / ".dvc" / "config")
    parameters = (demo.workspace / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(parameters + file.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(demo.workspace / "dvc.yaml", folder / "dvc.yaml")
    return ["prlimit", f"--as={DVC_BYTES}", "timeout", "--signal=KILL", str(DVC_TIMEOUT_S), *COMMAND, "status"]


def _text(text: str) -> Maker:
    def make(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return make


def _selectq() -> str:
    return str(Path(sys.executable).parent / "selectq")
