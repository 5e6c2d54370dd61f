"""The kernels' accuracies beside the plain modules', seed by seed: `make bench-accuracy`.

The parameters of the CIFAR-10 study, cut down: 10,000 training images, the others of the training split held out, the
first stride alone 1, a few epochs of FP32 at a lower rate and one of full QAT. Needs the images (SELECTQ_DATA). Writes
`accuracy_<hardware>_<versions>.csv`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
import yaml
from machine import machine_slug
from workload import CHECKOUT, study_document

from selectq.config.load import PARAMS_FILE, overlay
from selectq.errors import UserError
from selectq.files import read_json, write_csv
from selectq.stage import run

HERE = Path(__file__).resolve().parent
IMAGES = Path("data/images.safetensors")

SMALL: dict[str, Any] = {
    "data": {"validation_images": 40_000},
    "model": {"strides_removed": 1},
    "finetune": {"epochs": 6, "lr": 0.02},  # at 0.1 so few steps end anywhere between 23 and 37 %
    "qat": {"full": {"epochs": 1}},
}
STAGES = {"fp32": ("finetune_fp32",), "full": ("qat", "--name", "full")}
METRICS = {"fp32": "metrics/fp32.json", "full": "metrics/simulated/full.json"}

PATHS = {"kernels": {}, "plain modules": {"CXX": "none", "XDG_CACHE_HOME": "no-kernels"}}
"""Environment variables: without a compiler, and without what one compiled before, the modules themselves train."""


def main() -> None:
    """Train every seed on both paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        images = _download(Path(folder))
        rows = [row for seed in range(arguments.seeds) for path in PATHS for row in _train(images, seed, path)]
    table = pd.DataFrame(rows, columns=["network", "seed", "path", "validation_top1"])
    target = arguments.output / f"accuracy_{machine_slug(torch.device('cpu'))}.csv"
    write_csv(target, table)
    print(table.groupby(["network", "path"])["validation_top1"].agg(["mean", "std"]))
    print(f"written: {target}")


def _download(workspace: Path) -> Path:
    _write_params(workspace, seed=0)
    _run(workspace, ("download",), {})
    return workspace / IMAGES


def _train(images: Path, seed: int, path: str) -> list[tuple[str, int, str, float]]:
    with TemporaryDirectory() as folder:
        workspace = Path(folder)
        _write_params(workspace, seed)
        (workspace / IMAGES).parent.mkdir()
        shutil.copy(images, workspace / IMAGES)
        for stage in STAGES.values():
            _run(workspace, stage, PATHS[path])
        found = {name: read_json(workspace / file)["validation_top1"] for name, file in METRICS.items()}
    print(f"seed {seed}, {path}: {found}", flush=True)
    return [(network, seed, path, top1) for network, top1 in found.items()]


def _write_params(workspace: Path, seed: int) -> None:
    parameters = overlay(study_document(), SMALL | {"seed": seed})
    (workspace / PARAMS_FILE).write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")


def _run(workspace: Path, stage: tuple[str, ...], environment: dict[str, str]) -> None:
    command = [sys.executable, str(CHECKOUT / "stages" / f"{stage[0]}.py"), *stage[1:]]
    variables = os.environ | environment | {"SELECTQ_DEVICE": "cpu"}
    done = subprocess.run(command, cwd=workspace, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(stage)} failed: {done.stderr.splitlines()[-1]}")


if __name__ == "__main__":
    run(main)
