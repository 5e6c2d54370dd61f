"""A workspace in which stage scripts run as they do under DVC, on a data set of a few made-up images."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from small_networks import NARROW, coloured_dataset
from stage_process import CHECKOUT, run_stage, run_stages

from selectq.config.load import overlay, read_yaml
from selectq.data.packed import Dataset, Split, write_dataset

CALIBRATION = {"calibration": {"images": 24}}
SHORT: dict[str, Any] = {
    "finetune": {"epochs": 1, "batch_size": 8, "lr": 0.02, "warmup_epochs": 0.2, "precision": "float32"},
    "ptq": {name: CALIBRATION for name in ("tensor", "channel", "tensor_algorithms", "channel_algorithms")},
    "calibration_sweep": {
        "names": ["tensor"],
        "images": [8, 24],
        "estimators": ["minmax", "percentile"],
        "evaluation_images": 12,
    },
    "drift": {"images": 12, "histogram_images": 4, "cause_images": 4},
    "audit": {
        "images": 12,
        **CALIBRATION,
        "flaws": {"calibration_images": [1], "statistics_batches": [0], "range_skew": [1.0]},
        "combined": [],
    },
    "qat_training": {"batch_size": 8, **CALIBRATION},
    "plan": {
        "ptq": ["tensor"],
        "start": "tensor",
        "max_loss_points": 30.0,
        "budgets_pct": [20],
        "epochs": 1,
        "lrs": [0.001],
        "score_images": 8,
    },
    "repeat": {"names": [], "seeds": []},
    "parity": {"images": 10, "layer_images": 4},
    "qat": {name: {"epochs": 1} for name in ("full", "clf", "dw", "dwpw", "dwpw_asym")},
}
"""Laid over the committed parameters: everything is over in seconds."""


def by_label(split: Split) -> Split:
    """The order in which the download stage packs."""
    order = split.labels.argsort(stable=True)
    return Split(split.images[order], split.labels[order])


def packed_images() -> Dataset:
    dataset = coloured_dataset(train=36, validation=12, test=12)
    splits = {name: by_label(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return dataclasses.replace(dataset, **splits)


@dataclasses.dataclass(frozen=True)
class Workspace:
    """A folder with parameters and packed images."""

    folder: Path

    def write(self, changes: Mapping[str, Any] | None = None) -> "Workspace":
        """Write the images, and the committed parameters cut short, with `changes` laid over them."""
        parameters = overlay(read_yaml(CHECKOUT / "params.yaml"), SHORT, changes or {})
        model = parameters["model"]
        model["arguments"] = {**NARROW.get(model["network"], {}), **model["arguments"]}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
        write_dataset(self.folder / "data/images.safetensors", packed_images())
        (self.folder / "no_dvc").mkdir(exist_ok=True)
        (self.folder / "no_dvc/dvc.py").write_text("raise ImportError('a stage must run without DVC')\n")
        return self

    def start(self, stage: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a stage script."""
        return self._start(sys.executable, str(CHECKOUT / "stages" / f"{stage}.py"), *arguments)

    def train_together(self, processes: int, stage: str, *arguments: str) -> str:
        """Run a training stage in several processes; what they said on stderr."""
        launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        process = self._start(*launcher, str(CHECKOUT / "stages" / f"{stage}.py"), *arguments)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return errors

    def _start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "SELECTQ_DEVICE": "cpu", "PYTHONPATH": "no_dvc", "PYTHONHASHSEED": "random"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, stage: str, *arguments: str) -> str:
        """Run a stage to its end, which must be a good one; what it said on stderr."""
        return self.run_all((stage, *arguments))

    def run_all(self, *commands: tuple[str, ...]) -> str:
        """The same of stages with their arguments, all in one process."""
        ended = run_stages(*commands, folder=self.folder, SELECTQ_DEVICE="cpu")
        assert ended.status == 0, ended.err
        return ended.err

    def run_chain_anew(self) -> None:
        """The chain, each stage in a process of its own, as under DVC, and sets in another order than here."""
        process = self._start(sys.executable, "-W", "ignore", "-c", CHAIN_ANEW)
        _, errors = process.communicate()
        assert process.returncode == 0, errors

    def refusal(self, stage: str, *arguments: str) -> str:
        """The one line with which a stage must refuse to run."""
        (line,) = self.failure(stage, *arguments)
        return line

    def failure(self, stage: str, *arguments: str) -> list[str]:
        """What a stage that must end with a user's mistake says, line by line; the last one is the error."""
        ended = run_stage(stage, *arguments, folder=self.folder, SELECTQ_DEVICE="cpu")
        *lines, error = ended.err.splitlines()
        assert ended.status == 2 and error.startswith("error: "), ended.err
        return [*lines, error.removeprefix("error: ")]

    def outputs(self) -> dict[str, bytes]:
        """Every file that stages wrote, by its path."""
        paths = [path for top in ("models", "metrics") for path in (self.folder / top).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(paths)}


CHAIN: tuple[tuple[str, ...], ...] = (
    ("finetune_fp32",),
    ("ranges",),
    ("audit",),
    ("ptq", "--name", "tensor"),
    ("calibration", "--name", "tensor"),
    ("sensitivity",),
    ("plan",),
    ("auto",),
    ("qat", "--name", "dw"),
    ("convert", "--name", "dw"),
    ("drift", "--name", "tensor"),
    ("drift", "--name", "dw"),
)
"""Every stage from the FP32 training to the drift."""

CHAIN_ANEW = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(CHECKOUT / folder) for folder in ("src", "tests", "tests/stages")]}
from workspaces import CHAIN, Workspace
for command in CHAIN:
    Workspace(Path()).run(*command)
"""
