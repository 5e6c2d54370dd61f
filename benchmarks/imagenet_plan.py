"""What the pipeline would need for ImageNet: rates measured here or read from the committed results, times its size."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import yaml
from costs import CHECKOUT, MEASURE

from selectq.errors import UserError
from selectq.params.load import read_yaml
from selectq.team.cache import file_md5
from selectq.team.dvc import COMMAND

TRAIN_IMAGES, TEST_IMAGES = 1_281_167, 50_000
CLASSES = 1000
PIXELS = 224
IMAGE_BYTES = 3 * PIXELS**2
PACKED_BYTES = (TRAIN_IMAGES + TEST_IMAGES) * IMAGE_BYTES
FORMS = 6
"""Forms of one network whose logits `parity` compares."""

MEASURED_PIXELS, BOUND_PIXELS = 96, 32
"""Where the committed step is measured, and where its operations are counted: they go with the number of pixels."""

STEP_MFLOP = 3 * 2 * 300.8
"""Of an image: MobileNetV2's multiply-adds at 224 px with 1,000 classes, forwards and for both kinds of gradients."""

GIGABIT = 125e6
"""Bytes a second at 1 Gbit/s."""

HASHED_BYTES = 2 * 2**30
DOWNLOADED = (1000, 3000)
"""Images of two downloads whose peak memory is compared."""


@dataclass(frozen=True)
class Need:
    """One figure of the plan, and where it comes from."""

    name: str
    value: float
    unit: str
    how: str


def plan(folder: Path, hashed: int = HASHED_BYTES, downloaded: tuple[int, int] = DOWNLOADED) -> list[Need]:
    """All figures; a few GB are written to `folder`, which has to be on the disk that the cache would be on."""
    return [*storage(), *hashing(folder, hashed), *memory(folder, downloaded), *training(), *others()]


def storage() -> list[Need]:
    """The packed file, in the workspace and in the cache, and its way to the remote."""
    product = f"({TRAIN_IMAGES:,} + {TEST_IMAGES:,}) x 3 x {PIXELS}^2 bytes"
    return [
        Need("packed images", PACKED_BYTES / 1e9, "GB", product),
        Need("packed images, cache by copies", 2 * PACKED_BYTES / 1e9, "GB", "twice: workspace and cache"),
        Need("packed images, push or pull", PACKED_BYTES / GIGABIT / 60, "min", "at 1 Gbit/s"),
    ]


def hashing(folder: Path, size: int) -> list[Need]:
    """The rate of MD5 by CPU time, and of `dvc add` by the clock, on a file just written, and what they come to."""
    repository = folder / "hashed"
    repository.mkdir()
    path = repository / "images.bin"
    _write_random(path, size)
    start = process_time()
    file_md5(path)
    md5 = size / (process_time() - start)
    for command in (["init", "--quiet", "--no-scm"], ["add", "--quiet", path.name]):
        start = perf_counter()
        subprocess.run([*COMMAND, *command], cwd=repository, check=True)
    add = size / (perf_counter() - start)
    links = "a copy" if os.stat(path).st_nlink == 1 else "a link"
    note = f"on a file of {size / 1e9:.1f} GB in the page cache"
    return [
        Need("MD5", md5 / 1e6, "MB/CPU s", f"measured {note}"),
        Need("dvc add", add / 1e6, "MB/s", f"measured {note}; with DVC's start and, in the cache, {links}"),
        Need("hashing the packed images", PACKED_BYTES / md5 / 60, "min", "packed images at the rate of MD5, one core"),
        Need("dvc add of the packed images", PACKED_BYTES / add / 60, "min", "packed images at the rate of dvc add"),
    ]


def memory(folder: Path, counts: tuple[int, int]) -> list[Need]:
    """How the peak memory of `download` grows with the images, by two downloads of made-up images at 224 px."""
    few, many = (_download_peak(folder / f"download-{count}", count) for count in counts)
    copies = (many - few) / ((counts[1] - counts[0]) * IMAGE_BYTES)
    how = f"measured: peaks of {few / 1e6:.0f} and {many / 1e6:.0f} MB at {counts[0]:,} and {counts[1]:,} images"
    return [
        Need("memory of download per packed byte", copies, "bytes", how),
        Need("memory of download", copies * PACKED_BYTES / 1e9, "GB", "the same, times packed images"),
    ]


def training() -> list[Need]:
    """Speeds and memory of the committed measurement, by operations, and what an epoch comes to."""
    path = _committed_speed()
    table = pd.read_csv(path)
    (counted,) = table[table["case"] == "fp32_step"]["peer_name"].str.extract(r"(\d+) MFLOP")[0].dropna()
    measured = table.drop_duplicates("case").set_index("case")["ours"]
    return [*_epochs(path.name, measured, float(counted)), *_peaks(path.name, measured, float(counted))]


def _epochs(source: str, measured: pd.Series, mflop: float) -> list[Need]:
    operations = mflop * (MEASURED_PIXELS / BOUND_PIXELS) ** 2
    needs = []
    for kind in ("fp32", "qat"):
        case = f"growth_{kind}_px-{MEASURED_PIXELS}"
        speed = float(measured[case]) * operations / STEP_MFLOP
        how = f"{case} of {source}, x {operations:.0f} / {STEP_MFLOP:.0f} MFLOP"
        epoch = f"{TRAIN_IMAGES:,} images at that rate"
        needs += [
            Need(f"{kind} step", speed, "images/s", how),
            Need(f"{kind} epoch", TRAIN_IMAGES / speed / 3600, "h", epoch),
        ]
    return needs


def _peaks(source: str, measured: pd.Series, mflop: float) -> list[Need]:
    """Upper bounds: program and weights do not grow with the image."""
    prefix = "peak_memory_mb_"
    how = f"{prefix}* of {source}, x {STEP_MFLOP:.0f} / {mflop:.0f} MFLOP, the same batches"
    return [
        Need(f"memory of {case.removeprefix(prefix)}, at most", megabytes * STEP_MFLOP / mflop / 1000, "GB", how)
        for case, megabytes in measured.items()
        if str(case).startswith(prefix)
    ]


def others() -> list[Need]:
    """What else grows with images and classes."""
    logits = TEST_IMAGES * CLASSES * 4
    per_configuration = _bytes_of_configuration()
    return [
        Need("logits of one form", logits / 1e6, "MB", f"{TEST_IMAGES:,} x {CLASSES:,} x 4 bytes"),
        Need("logits that parity holds", FORMS * logits / 1e9, "GB", f"{FORMS} forms"),
        Need("clf: features of one view", TRAIN_IMAGES * 1280 / 1e9, "GB", f"{TRAIN_IMAGES:,} x 1,280 bytes"),
        Need("rows of one confusion matrix", CLASSES**2, "rows", f"{CLASSES:,}^2"),
        Need(
            "outputs of one configuration",
            per_configuration / 1e6,
            "MB",
            "qat@dw, convert@dw and parity@dw in dvc.lock, for 10 classes and 10,000 test images",
        ),
    ]


def _write_random(path: Path, size: int) -> None:
    block = np.random.default_rng(0).bytes(min(size, 2**26))
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


def _download_peak(workspace: Path, images: int) -> float:
    """Bytes that `stages/download.py` holds at its highest for so many images of noise, three quarters to train on."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, PIXELS, PIXELS, 3), np.uint8)
    for index, image in enumerate(pixels):
        path = workspace / "noise" / ("test" if index % 4 == 0 else "train") / f"class{index % 8 // 4}/{index}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"P6 {PIXELS} {PIXELS} 255\n".encode() + image.tobytes())
    del pixels
    _write_parameters(workspace, "0" * 64)
    refused = _download(workspace)
    found = re.search(r"pixels_sha256: ([0-9a-f]{64})", refused.stderr) or re.search(
        r"is ([0-9a-f]{64})", refused.stderr
    )
    if found is None:
        raise UserError(f"download: {refused.stderr.splitlines()[-1]}")
    _write_parameters(workspace, found[1])
    done = _download(workspace)
    if done.returncode:
        raise UserError(f"download: {done.stderr.splitlines()[-1]}")
    return int(done.stdout.split()[-1]) * 1024  # Linux counts in KiB


def _write_parameters(workspace: Path, pixels_sha256: str) -> None:
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text(encoding="utf-8"))
    settings = {"source": "noise", "archive_sha256": None, "pixels_sha256": pixels_sha256, "image_size": PIXELS}
    params["data"] |= {"name": "imagefolder", "validation_images": 10, "imagefolder": settings}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _download(workspace: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MEASURE, sys.executable, str(CHECKOUT / "stages" / "download.py")]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)


def _committed_speed() -> Path:
    """The newest committed measurement of speed on a CPU that has a row at 96 px."""
    case = f"growth_qat_px-{MEASURED_PIXELS}"
    found = [path for path in sorted((CHECKOUT / "benchmarks/results").glob("speed_*.csv")) if case in path.read_text()]
    if not found:
        raise UserError(f"benchmarks/results: no speed_*.csv has a row {case}; run `make bench`")
    return found[-1]


def _bytes_of_configuration() -> int:
    stages = read_yaml(CHECKOUT / "dvc.lock")["stages"]
    names = ("qat@dw", "convert@dw", "parity@dw")
    return sum(int(out["size"]) for name in names for out in stages[name]["outs"])
