"""What the pipeline costs beside training: each stage's memory and start, and a run in which nothing is to be done."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
import yaml
from report import Comparison
from workload import CHECKOUT, random_dataset, study_document

from selectq.data.packed import Split, write_dataset
from selectq.errors import UserError
from selectq.latency.turns import Timing

IMAGES = 1280  # of each split, random: memory depends on the batches, not on how many there are
START_LIMIT = 2.5  # seconds
NO_OP_LIMIT = 2.0

STAGES: list[tuple[str, ...]] = [
    ("finetune_fp32",),
    ("ptq", "--name", "channel"),
    ("drift", "--name", "channel"),
    ("qat", "--name", "full"),
    ("qat", "--name", "clf"),
    ("convert", "--name", "channel"),
]


def peak_memory(workspace: Path, images: int = IMAGES) -> list[Comparison]:
    """Megabytes that each stage holds at its highest, with the committed network and batches, for one epoch."""
    prepare(workspace, images)
    dataset = random_dataset(images, torch.device("cpu"))
    splits = {name: _copy(dataset.train) for name in ("validation", "test")}  # one file holds no tensor twice
    write_dataset(workspace / "data/images.safetensors", replace(dataset, **splits))
    return [
        Comparison(f"peak_memory_mb_{'_'.join(stage[::2])}", Timing([_peak(workspace, stage)], []), None, None)
        for stage in STAGES
    ]


def _copy(split: Split) -> Split:
    return Split(split.images.clone(), split.labels.clone())


def prepare(workspace: Path, images: int) -> None:
    """A folder with the study's parameters, cut to one epoch, to what `images` images allow and to the stages timed."""
    params = study_document()
    params["calibration_sweep"] |= {"images": [images], "evaluation_images": images}
    params["plan"]["score_images"] = min(images, params["plan"]["score_images"])
    params["audit"] |= {"images": images, "combined": []}
    params["audit"]["flaws"] |= {"calibration_images": [1], "statistics_batches": [0]}
    params["finetune"] |= {"epochs": 1, "precision": "float32"}  # bfloat16 takes minutes a step where it is emulated
    for config in params["qat"].values():
        config["epochs"] = 1
    for section in (*params["ptq"].values(), params["qat_training"], params["audit"]):
        section["calibration"]["images"] = min(images, section["calibration"]["images"])
    params["parity"] = {"images": images, "layer_images": min(images, 1000), "layer_steps": 255, "flipped_pct": 100.0}
    for count in ("images", "histogram_images", "cause_images"):
        params["drift"][count] = min(images, params["drift"][count])
    for section in (params["finetune"], params["qat_training"]):
        section["batch_size"] = min(images, section["batch_size"])
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
"""In a process of its own: Linux counts what a process was when it was forked, and the benchmark's is large."""


def _peak(workspace: Path, stage: tuple[str, ...]) -> float:
    command = [sys.executable, str(CHECKOUT / "stages" / f"{stage[0]}.py"), *stage[1:]]
    measured = [sys.executable, "-c", MEASURE, *command]
    done = subprocess.run(measured, cwd=workspace, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(stage)} failed: {done.stderr.splitlines()[-1]}")
    return int(done.stdout) / 1000  # Linux counts in kB


def start_up(repeats: int) -> Comparison:
    """Seconds until the slowest stage script answers `--help`, over their limit."""
    slowest = []
    for _ in range(repeats):
        scripts = sorted({stage[0] for stage in STAGES if len(stage) > 1})
        slowest.append(max(_seconds_to_first_word(script) for script in scripts))
    return Comparison.of_limit("stage_start_up_s", slowest, START_LIMIT)


def _seconds_to_first_word(script: str) -> float:
    start = perf_counter()
    command = [sys.executable, str(CHECKOUT / "stages" / f"{script}.py"), "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = perf_counter() - start
        process.stdout.read()
    return seconds


def no_op_repro(repeats: int) -> Comparison:
    """Seconds of `dvc repro` in the checkout when nothing is to be done, over their limit.

    The model cards, which quote benchmark results, are brought up to date first.

    Raises:
        UserError: more is to be done there.
    """
    plan = subprocess.run(_dvc("repro", "--dry"), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if plan.returncode or set(re.findall(r"^Running stage '(\w+)", plan.stdout, re.MULTILINE)) - {"card"}:
        raise UserError("the checkout is not up to date; run `dvc repro` first, or leave this out with --no-dvc")
    subprocess.run(_dvc("repro", "--quiet"), cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        subprocess.run(_dvc("repro", "--quiet"), cwd=CHECKOUT, check=True)
        seconds.append(perf_counter() - start)
    return Comparison.of_limit("dvc_no_op_repro_s", seconds, NO_OP_LIMIT)


def _dvc(*words: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *words]
