"""The demo in a scratch folder, in which faults are tried: made, put back, made to forget a stage, and compared.

It is what `selectq study` makes of a copy of the checkout: the real stages on the handwritten digits, under
`profiles/digits.yaml` with SHORT laid over it. The copy has a cache of its own, so that what is to run does run.
"""

import copy
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selectq.errors import UserError
from selectq.files import sha256, write_bytes
from selectq.params.load import PARAMS_FILE, overlay, read_yaml
from selectq.study import LOCK_FILE, SOURCES, Study, mirror, prepare_workspace, study_parameters
from selectq.team.cache import OBJECTS
from selectq.team.dvc import COMMAND, ask_dvc, stage_environment
from selectq.team.verify import examine, locked_outputs

PROFILE = "faults"
FEW_IMAGES: dict[str, Any] = {"calibration": {"images": 64}}
KEPT_QAT = ("clf", "dwpw_asym")
SHORT: dict[str, Any] = {
    "convert": ["tensor", "channel", *KEPT_QAT],
    "data": {"digits": {"test_images": 100}},
    "model": {"stem_stride": 2},
    "finetune": {"epochs": 1},
    "ptq": {"tensor": FEW_IMAGES, "channel": FEW_IMAGES},
    "calibration_sweep": {"estimators": ["minmax"], "images": [64], "evaluation_images": 50},
    "drift": {"histogram_images": 32, "cause_images": 32},
    "audit": {"images": 100, **FEW_IMAGES, "flaws": {"statistics_batches": [0], "range_skew": [1.0]}, "combined": []},
    "qat_training": FEW_IMAGES,
    "statistics": {"contrasts": ["dwpw_asym - clf"]},
    "parity": {"images": 100, "layer_images": 10, "layer_steps": 255, "flipped_pct": 100.0},
}
"""Fewer configurations of QAT, and shorter stages on smaller feature maps.

The parity gate is open, since a network that has hardly learned would not pass it.
"""

TIMEOUT_S = 900

RUNNING = re.compile(r"^Running stage '(\S+)':", re.MULTILINE)
"""How DVC says that it starts a stage."""


@dataclass(frozen=True)
class Result:
    """What a run ended in: the sha256 of every output by its path, and the content of `dvc.lock`."""

    files: Mapping[str, str]
    lock: Mapping[str, Any]

    def difference(self, other: "Result") -> str:
        """What differs in another result, in words; empty where nothing does."""
        paths = sorted(self.files.keys() | other.files.keys())
        differing = [path for path in paths if self.files.get(path) != other.files.get(path)]
        if differing:
            return f"{len(differing)} outputs differ, {differing[0]} first"
        return "" if self.lock == other.lock else "dvc.lock differs"


@dataclass(frozen=True)
class Traces:
    """All that a stage's run left: outputs, and files of the cache, as paths from the copied checkout."""

    outputs: tuple[Path, ...]
    cached: tuple[Path, ...]


class Demo:
    """A copied checkout with a study's workspace in it. `root` is an absolute path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        self.workspace = Study(self.checkout, PROFILE).workspace
        self.cache = self.checkout / ".dvc" / "cache"
        self.log = root / "log"

    def environment(self) -> dict[str, str]:
        """What DVC and the stages run in: one thread, and DVC's own databases in this folder."""
        own = {
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root / "site"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SELECTQ_DEVICE": "cpu",
        }
        return stage_environment(self.checkout) | own

    def start(self, *options: str, extra: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `dvc repro` in a session of its own, in an environment with `extra`; what it says goes to `log`."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*COMMAND, "repro", *options],
                cwd=self.workspace,
                env={**self.environment(), **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_stage(self, stage: str, extra: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `dvc repro` of this stage alone, without looking at the others, which takes DVC a while."""
        return self.start("--single-item", stage, extra=extra)

    def repro(self) -> int:
        """Run a plain `dvc repro` to its end; its exit status."""
        with self.start() as dvc:
            return dvc.wait(TIMEOUT_S)

    def said(self) -> str:
        """What the last `dvc repro` said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def selectq(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `selectq` command in the workspace."""
        command = [str(Path(COMMAND[0]).parent / "selectq"), *arguments]
        environment = self.environment()
        return subprocess.run(
            command, cwd=self.workspace, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )

    def stages(self) -> list[str]:
        """The pipeline's stages by their full names, in an order in which they can run."""
        listed = ask_dvc(self.workspace, "stage", "list", "--name-only")
        return listed.split()

    def result(self) -> Result:
        """What is in the workspace now."""
        lock = read_yaml(self.workspace / LOCK_FILE)
        return Result({str(path): sha256(self.workspace / path) for path in _output_files(self.workspace, lock)}, lock)

    def damaged(self) -> list[str]:
        """What `selectq verify` would name."""
        found = examine(self.cache, list(locked_outputs(self.workspace, self.cache)), set())
        return [str(path) for path in [*found.objects, *(output.path for output in found.outputs)]]

    def traces(self, stage: str) -> Traces:
        """What a stage's run left, leaving out objects that other stages have too."""
        stages = read_yaml(self.workspace / LOCK_FILE)["stages"]
        others = {path for name in stages if name != stage for path in self._objects(stages[name])}
        runs = [path for path in (self.cache / "runs").rglob("*") if path.is_file()]
        own = [path for path in runs if read_yaml(path)["cmd"] == stages[stage]["cmd"]]
        objects = dict.fromkeys(path for path in self._objects(stages[stage]) if path not in others)
        cached = [*own, *filter(Path.exists, objects)]
        outputs = [self.workspace / out["path"] for out in stages[stage]["outs"]]
        relative = (tuple(path.relative_to(self.checkout) for path in paths) for paths in (outputs, cached))
        return Traces(*relative)

    def _objects(self, locked: Mapping[str, Any]) -> Iterator[Path]:
        for out in locked["outs"]:
            listing = self.cache / OBJECTS / out["md5"][:2] / out["md5"][2:]
            yield listing  # of metrics that git keeps, there is none
            if out["md5"].endswith(".dir"):
                hashes = [entry["md5"] for entry in yaml.safe_load(listing.read_text(encoding="utf-8"))]
                yield from (self.cache / OBJECTS / md5[:2] / md5[2:] for md5 in hashes)

    def forget(self, stage: str, traces: Traces) -> None:
        """Bring the workspace and the cache to where they were before a stage had run."""
        path = self.workspace / LOCK_FILE
        lock = copy.deepcopy(read_yaml(path))
        del lock["stages"][stage]
        write_bytes(path, yaml.safe_dump(lock, sort_keys=False).encode())
        for left in (*traces.outputs, *traces.cached):
            target = self.checkout / left
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink()
        for folder in (self.cache / "runs").glob("*/*"):
            if not any(folder.iterdir()):  # which DVC could not read
                folder.rmdir()

    def keep_as(self, folder: Path) -> None:
        """Copy the checkout to a folder, with its times."""
        shutil.copytree(self.checkout, folder, symlinks=True)

    def put_back(self, folder: Path) -> None:
        """Bring the checkout back to what `keep_as` kept."""
        for path in self.checkout.iterdir() if self.checkout.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(folder, self.checkout, symlinks=True, dirs_exist_ok=True)


def make_demo(source: Path, root: Path) -> Demo:
    """Copy what a study takes from a checkout, and prepare the workspace; nothing has run yet.

    Raises:
        UserError: DVC is not installed, or bad parameters.
    """
    demo = Demo(root)
    for name in (*SOURCES, PARAMS_FILE):
        mirror(source / name, demo.checkout / name)
    profile = overlay(read_yaml(source / "profiles" / "digits.yaml"), SHORT)
    profile["qat"] = {
        name: {**settings, "epochs": 1} if name in KEPT_QAT else None for name, settings in profile["qat"].items()
    }
    write_bytes(demo.checkout / "profiles" / f"{PROFILE}.yaml", yaml.safe_dump(profile, sort_keys=False).encode())
    write_bytes(demo.checkout / ".dvc" / "config.local", b"[core]\n    no_scm = true\n")
    study = Study(demo.checkout, PROFILE)
    prepare_workspace(study, study_parameters(study))
    _make_movable(demo)
    return demo


def _make_movable(demo: Demo) -> None:
    """Name the cache by a relative path, and let `selectq` find a checkout in the workspace."""
    config = demo.workspace / ".dvc" / "config.local"
    relative = os.path.relpath(demo.cache, config.parent)
    settings = config.read_text(encoding="utf-8").splitlines()
    named = [f"    dir = {relative}" if "dir =" in line else line for line in settings]
    write_bytes(config, ("\n".join(named) + "\n").encode())
    (demo.workspace / "profiles").mkdir()


def run_undisturbed(demo: Demo) -> dict[str, float]:
    """Run the pipeline from its beginning; the seconds that each stage took, DVC's part of it included.

    Raises:
        UserError: it fails.
    """
    began: dict[str, float] = {}
    with demo.start() as dvc:
        while dvc.poll() is None:
            for stage in RUNNING.findall(demo.said()):
                began.setdefault(stage, time.monotonic())
            time.sleep(0.05)
    if dvc.returncode:
        raise UserError(f"the undisturbed run fails: {last_line(demo.said())} (all of it: {demo.log})")
    ends = [*began.values(), time.monotonic()]
    return {stage: ends[index + 1] - ends[index] for index, stage in enumerate(began)}


def last_line(text: str) -> str:
    """The last line of a text that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _output_files(workspace: Path, lock: Mapping[str, Any]) -> Iterator[Path]:
    for stage in lock["stages"].values():
        for out in stage["outs"]:
            path = workspace / out["path"]
            files = path.rglob("*") if path.is_dir() else [path]
            yield from (file.relative_to(workspace) for file in files if file.is_file() and file.suffix != ".partial")
