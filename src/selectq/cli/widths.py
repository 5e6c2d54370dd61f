"""`selectq widths`: accuracy against size, from all layers at 8 bits to all at 4, with random choices beside it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from selectq.cli.text import aligned, printable
from selectq.config.configs import CalibrationConfig
from selectq.data.device import choose_device
from selectq.data.packed import read_dataset
from selectq.errors import UserError
from selectq.files import require_writable, write_csv
from selectq.networks.checkpoint import read_fp32
from selectq.ptq.pipeline import equivalent_fp32
from selectq.ptq.registry import find
from selectq.quantization.post_training import fold_fp32
from selectq.selection.widths import CHOSEN, Curve, measure_curve


@dataclass(frozen=True)
class Recipe:
    """How the network is quantized, whatever the widths.

    Attributes:
        images: training images for calibration and scores.
        estimator: of activation ranges.
        algorithms: PTQ algorithms that act on the FP32 network.
    """

    images: int
    estimator: str
    algorithms: tuple[str, ...]


def run_widths(checkpoint: Path, data: Path, recipe: Recipe, curve: Curve, out: Path) -> None:
    """Measure the curve, print it and write it as CSV.

    Args:
        checkpoint: an FP32 network, as the pipeline writes it.
        data: a packed data set.
        recipe: how the network is quantized.
        curve: what is measured.
        out: the CSV file.

    Raises:
        UserError: a file or an option that is not as it should be.
    """
    require_writable("--out", out)
    _require_fp32(recipe.algorithms)
    calibration = CalibrationConfig("train", recipe.images, recipe.estimator, 99.99, 0.1)  # type: ignore[arg-type]
    fp32 = equivalent_fp32(read_fp32(checkpoint), recipe.algorithms)
    device = choose_device()
    dataset = read_dataset(data).to(device).normalised(fp32.normalization)
    table = measure_curve(fold_fp32(fp32, device), dataset, calibration, curve)
    write_csv(out, table)
    print(f"{printable(str(checkpoint))}: {len(dataset.validation):,} validation and {len(dataset.test):,} test images")
    print("\n".join(aligned(_lines(table), left=0)))
    print(f"loss: KL(FP32 || quantized) in nats. Every choice, and its widths: {out}")


def _require_fp32(algorithms: tuple[str, ...]) -> None:
    for algorithm in find(algorithms):
        if algorithm.when != "fp32":
            raise UserError(f"--algorithms: {algorithm.name!r} depends on the widths; allowed: those on FP32 networks")


def _lines(table: pd.DataFrame) -> list[list[str]]:
    lines = [["MB", "predicted", "loss", "validation", "test", "random: of least loss", "its test", "mean test"]]
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
