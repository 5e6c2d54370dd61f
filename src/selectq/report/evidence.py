"""What the earlier stages measured, read back and checked for completeness."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import pandas as pd

from selectq.config.fields import Between, Config
from selectq.errors import UserError
from selectq.files import read_json
from selectq.statistics.schemas import (
    AGAIN,
    CALIBRATION,
    CAUSES,
    CHANNEL_RANGES,
    CONFUSION,
    CONTRASTS,
    DRIFT,
    HISTOGRAMS,
    LEARNING,
    METHODS,
    OSCILLATION,
    PAIRED,
    PAIRS,
    SEEDS,
)

Percent = Annotated[float, Between(0, 100)]
Natural = Annotated[int, Between(0, 10**12)]
Positive = Annotated[int, Between(1, 10**12)]


@dataclass(frozen=True)
class Fp32Metrics(Config):
    """The FP32 network, and the data that it and every other network is measured on."""

    test_top1: Percent
    validation_top1: Percent
    parameters: Positive
    size_bytes: Positive
    test_images: Positive
    data: str


@dataclass(frozen=True)
class SimulatedMetrics(Config):
    """A fake-quantized network: accuracy on the validation images, and how many parameters learned."""

    validation_top1: Percent
    parameters: Positive
    params_retrained: Natural


@dataclass(frozen=True)
class ByteCounts(Config):
    """Where the bytes of an ONNX file go."""

    weights: Natural
    biases: Natural
    scales: Natural
    graph: Natural


@dataclass(frozen=True)
class Int8Metrics(Config):
    """An integer program on the test images, and its files.

    `size_bytes` and `bytes` are of the ONNX file, `sizes` of each format's. `operators` are counted in the graph that
    ONNX Runtime makes of it, `float_operators` are those that it leaves in float. Without `integer_arithmetic`, a
    scheme has fewer than 8 bits, and the accuracy is simulated.
    """

    test_top1: Percent
    test_images: Positive
    correct: Natural
    size_bytes: Positive
    sizes: dict[str, int]
    bytes: ByteCounts
    operators: dict[str, int]
    float_operators: Natural
    integer_arithmetic: bool


@dataclass(frozen=True)
class CpuMetrics(Config):
    """The CPU of a measurement: whether it has VNNI, and whether its sums of uint8 x int8 products saturate."""

    vnni: bool
    u8s8_saturates: bool


@dataclass(frozen=True)
class EnvironmentMetrics(Config):
    """What a measurement ran on: `versions` of Python and the runtimes, and the processor's instruction sets."""

    versions: dict[str, str]
    architecture: str
    instructions: tuple[str, ...]


@dataclass(frozen=True)
class ParityMetrics(Config):
    """How far the backends of one program are apart.

    `flipped_pct` are the predictions that differ in the worst pair of backends; `layer_steps` is the largest
    difference at a layer's output, given the same inputs, in integer steps.
    """

    flipped_pct: Percent
    layer_steps: Natural
    cpu: CpuMetrics
    environment: EnvironmentMetrics


@dataclass(frozen=True)
class ProgramEvidence:
    """One configuration: the FP32 network, its simulation, its program, every pair of backends, and its confusions."""

    fp32: Fp32Metrics
    simulated: SimulatedMetrics
    int8: Int8Metrics
    parity: ParityMetrics
    pairs: pd.DataFrame
    confusion: pd.DataFrame


@dataclass(frozen=True)
class Evidence:
    """Metrics by configuration, and the long tables of the training, drift, causes, parity and compare stages."""

    fp32: Fp32Metrics
    simulated: dict[str, SimulatedMetrics]
    int8: dict[str, Int8Metrics]
    parity: dict[str, ParityMetrics]
    pairs: dict[str, pd.DataFrame]
    learning: pd.DataFrame
    drift: pd.DataFrame
    causes: pd.DataFrame
    oscillation: pd.DataFrame
    channel_ranges: pd.DataFrame
    histograms: pd.DataFrame
    confusion: pd.DataFrame
    paired: pd.DataFrame
    seeds: pd.DataFrame
    methods: pd.DataFrame
    contrasts: pd.DataFrame
    calibration: pd.DataFrame


def read_evidence(
    root: Path, results: Path, ptq: Collection[str], qat: Collection[str], calibrated: Collection[str]
) -> Evidence:
    """Read everything that was measured, below `root`, and the comparisons in `results`.

    `calibrated` are the names of the configurations that were calibrated in several ways.

    Raises:
        UserError: a file is missing, damaged or incomplete.
    """
    quantized, trained = (*ptq, *qat), ("fp32", *qat)
    programs = {name: read_program_evidence(root, name) for name in quantized}
    return Evidence(
        fp32=read_metrics(root / "fp32.json", Fp32Metrics),
        simulated={name: program.simulated for name, program in programs.items()},
        int8={name: program.int8 for name, program in programs.items()},
        parity={name: program.parity for name, program in programs.items()},
        pairs={name: program.pairs for name, program in programs.items()},
        learning=LEARNING.gather(root / "learning", ".csv", trained),
        drift=DRIFT.gather(root / "drift", ".csv", quantized),
        causes=CAUSES.gather(root / "causes", ".csv", quantized),
        oscillation=OSCILLATION.gather(root / "oscillation", ".csv", qat),
        channel_ranges=CHANNEL_RANGES.read(root / "channel_ranges.csv"),
        histograms=HISTOGRAMS.gather(root / "drift", ".histograms.csv", quantized),
        confusion=CONFUSION.gather(root / "int8", ".confusion.csv", quantized),
        paired=PAIRED.read(results / "paired.csv", quantized),
        seeds=SEEDS.read(results / "seeds.csv", qat),
        methods=METHODS.read(results / "methods.csv", quantized),
        contrasts=CONTRASTS.read(results / "contrasts.csv", quantized),
        calibration=CALIBRATION.gather(root / "calibration", ".csv", calibrated),
    )


def read_program_evidence(root: Path, name: str) -> ProgramEvidence:
    """Read what belongs to one configuration below `root`, the folder of metrics.

    Raises:
        UserError: a file is missing, damaged or incomplete.
    """
    return ProgramEvidence(
        fp32=read_metrics(root / "fp32.json", Fp32Metrics),
        simulated=read_metrics(root / "simulated" / f"{name}.json", SimulatedMetrics),
        int8=read_metrics(root / "int8" / f"{name}.json", Int8Metrics),
        parity=read_metrics(root / "parity" / f"{name}.json", ParityMetrics),
        pairs=PAIRS.read(root / "parity" / f"{name}.csv", [name]),
        confusion=CONFUSION.read(root / "int8" / f"{name}.confusion.csv", [name]),
    )


Metrics = TypeVar("Metrics", bound=Config)


def read_metrics(path: Path, kind: type[Metrics]) -> Metrics:
    """The metrics of one JSON file that `kind` has fields for.

    Raises:
        UserError: the file is missing or damaged, or a value is missing or impossible.
    """
    content = read_json(path)
    wanted = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise UserError(f"{path}: {content!r:.60} is not a mapping of metrics; {AGAIN}")
    for name in wanted:
        if name not in content:
            raise UserError(f"{path}: {name} is missing; {AGAIN}")
    return kind.from_mapping({name: content[name] for name in wanted}, str(path))
