"""`selectq widths`: accuracy against size, from all layers at 8 bits to all at 4, with random choices beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from selectq.cli.text import aligned, printable
from selectq.command import Positive
from selectq.config.configs import ActivationScheme, CalibrationConfig
from selectq.data.device import choose_device
from selectq.data.packed import read_dataset
from selectq.errors import UserError
from selectq.files import require_writable, write_csv
from selectq.networks.checkpoint import read_fp32
from selectq.ptq.pipeline import equivalent_fp32
from selectq.ptq.registry import find
from selectq.quantization.post_training import fold_fp32
from selectq.selection.widths import CHOSEN, Curve, measure_curve


def run_widths(
    checkpoint: Path,
    images: Path,
    *,
    wide: Literal[5, 6, 7, 8] = 8,
    narrow: Literal[2, 3, 4] = 4,
    activations: Literal[2, 3, 4, 5, 6, 7, 8] = 8,
    steps: Positive = 10,
    random: Positive = 0,
    calibration: int = 512,
    estimator: str = "minmax",
    algorithms: Sequence[str] = (),
    seed: int = 0,
    out: Path = Path("widths.csv"),
) -> None:
    """Measure the curve, print it and write it as CSV.

    Args:
        checkpoint (CHECKPOINT): FP32, such as models/fp32.safetensors
        images (IMAGES): packed, such as data/images.safetensors
        wide: bits of the weights that keep more (default 8)
        narrow: bits of the others' weights (default 4)
        activations: bits of all activations (default 8)
        steps (N): between both ends (default 10)
        random (N): random choices beside each step's (default 0)
        calibration (N): training images for ranges and scores (default 512)
        estimator (NAME): of activation ranges (default minmax)
        algorithms (NAME): PTQ algorithms on FP32, such as equalize
        seed (N): of all that is drawn (default 0)
        out (FILE): (default widths.csv)

    Raises:
        UserError: a file or an option that is not as it should be.
    """
    require_writable("--out", out)
    _require_fp32(algorithms)
    ranges = CalibrationConfig("train", calibration, estimator, 99.99, 0.1)  # type: ignore[arg-type]
    curve = Curve(wide, narrow, ActivationScheme(activations, symmetric=False), steps, random, seed)
    fp32 = equivalent_fp32(read_fp32(checkpoint), algorithms)
    device = choose_device()
    dataset = read_dataset(images).to(device).normalised(fp32.normalization)
    table = measure_curve(fold_fp32(fp32, device), dataset, ranges, curve)
    write_csv(out, table)
    print(f"{printable(str(checkpoint))}: {len(dataset.validation):,} validation and {len(dataset.test):,} test images")
    print("\n".join(aligned(_lines(table), left=0)))
    print(f"loss: KL(FP32 || quantized) in nats. Every choice, and its widths: {out}")


def _require_fp32(algorithms: Sequence[str]) -> None:
    for algorithm in find(algorithms):
        if algorithm.when != "fp32":
            raise UserError(f"--algorithms: {algorithm.name!r} depends on the widths; allowed: those on FP32 networks")


def _lines(table: pd.DataFrame) -> list[list[str]]:
    lines = [["MB", "predicted", "loss", "validation", "test", "best random", "its test", "mean random test"]]
    for _, step in table.groupby("step"):
        chosen, drawn = step[step.choice == CHOSEN].iloc[0], step[step.choice != CHOSEN]
        beside = ["", "", ""]
        if len(drawn):
            best = drawn.nsmallest(1, "validation_loss").iloc[0]
            beside = [f"{each:.2f}" for each in (best.validation_top1, best.test_top1, drawn.test_top1.mean())]
        losses = [f"{each:.4f}" for each in (chosen.predicted_loss, chosen.validation_loss)]
        lines.append(
            [f"{chosen.size_mb:.3f}", *losses, f"{chosen.validation_top1:.2f}", f"{chosen.test_top1:.2f}", *beside]
        )
    return lines
