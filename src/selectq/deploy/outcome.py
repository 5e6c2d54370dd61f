"""What quantization cost a network: accuracy on the same images, bytes, and time on this machine."""

import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selectq.data.packed import Split
from selectq.export.float_program import write_float_onnx
from selectq.intervals import CONFIDENCE, write_interval
from selectq.latency.measure import Latency, Load, measure, read_programs
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.programs.format import Program
from selectq.programs.saturation import has_vnni, read_cpu_info
from selectq.progress import progress
from selectq.quantization.folding import fold
from selectq.statistics.gaps import paired_gap
from selectq.statistics.predictions import Right
from selectq.statistics.verdicts import Gap, Verdict, judge

MARGIN = 0.5
"""Points of accuracy; a loss below it is no loss."""

BATCH = 250
SECONDS = 1.0
"""On the clock, for each program in each of its runtimes."""


@dataclass(frozen=True)
class Accuracy:
    """Two networks on the same images: which of them each puts into the right class, (N,).

    A loss below `margin` points is no loss; `retrained` is whether the INT8 network was.
    """

    fp32: Right
    int8: Right
    margin: float = MARGIN
    retrained: bool = False

    @property
    def gap(self) -> Gap:
        """INT8 less FP32."""
        return paired_gap(self.int8, self.fp32, CONFIDENCE)

    @property
    def verdict(self) -> Verdict:
        """Whether INT8 keeps up with FP32."""
        return judge(self.gap, "keeps up", self.margin)

    def verdict_text(self) -> str:
        """The verdict in words."""
        gap = self.gap
        if self.verdict == "holds":
            return "it keeps up with FP32" if self.retrained else "no retraining needed"
        if self.verdict == "fails":
            cure = "" if self.retrained else ": retrain (--retrain; docs/selection.md, The plan)"
            return f"a loss of more than {self.margin:g} points is shown{cure}"
        reach = (gap.high - gap.low) / 2
        return (
            f"not shown either way: {len(self.fp32):,} images leave ±{reach:.2f} points open, and {self.margin:g} are"
            " asked for; more images would tell"
        )


def accuracy_text(right: Right) -> tuple[str, str]:
    """Top-1 in percent, and its 95 % interval."""
    return f"{100 * right.mean():.2f} %", write_interval(int(right.sum()), len(right))


def program_logits(program: Program, split: Split) -> NDArray[np.float32]:
    """Logits (N, classes) of all images, by the written program."""
    batches = progress(split.images.split(BATCH), -(-len(split) // BATCH), "the program")
    return np.concatenate([program.logits(batch.cpu().numpy()) for batch in batches])


@dataclass(frozen=True)
class Costs:
    """Bytes and milliseconds of the FP32 network as an ONNX file, and of the INT8 program."""

    fp32_bytes: int
    int8_bytes: int
    fp32: Latency
    int8: Latency


def measure_costs(fp32: Fp32Checkpoint, size: int, program: Path) -> Costs:
    """Of one image at a time on one thread; the FP32 network's file is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        float_file = Path(folder) / "fp32.onnx"
        write_float_onnx(float_file, fold(fp32.model, fp32.graph), size)
        measured, _ = measure(read_programs([program, float_file]), Load(batch=1, threads=1), SECONDS)
        sizes = float_file.stat().st_size, program.stat().st_size
        return Costs(*sizes, fp32=_first_of(measured, float_file), int8=_first_of(measured, program))


def processor_notes() -> list[str]:
    """What latencies on this processor do not show."""
    if platform.machine() != "x86_64" or has_vnni(read_cpu_info()):
        return []
    return ["this processor has no VNNI instructions: INT8 is slow on it (docs/deploy.md, CPUs without VNNI)"]


def _first_of(measured: Sequence[Latency], path: Path) -> Latency:
    """A program in the runtime that is always there."""
    return next(each for each in measured if each.program.path == path)
