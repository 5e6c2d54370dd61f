"""What the earlier stages measured, read back and checked for completeness."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import pandas as pd

from selectq.config.fields import Between, Config
from selectq.config.formats import FORMATS
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

TOP1_ROUNDING = 0.001
"""Accuracies are written with four decimals."""

FORMS = ("simulation", "reference", "torch_export", "onnx_plain", "onnx", "executorch")
"""In which a program is compared with itself; a format that is not made leaves its forms out."""


def known_forms() -> tuple[str, ...]:
    """FORMS, and those of other packages' formats, by their endings."""
    return *FORMS, *FORMATS.others()


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

    @property
    def total(self) -> int:
        """The file's size."""
        return self.weights + self.biases + self.scales + self.graph


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {"onnx"} <= set(self.sizes) <= set(FORMATS.names()):
            raise UserError(f"sizes: {', '.join(self.sizes)}; allowed: onnx, and any of {', '.join(FORMATS.names())}")
        for field, counts in (("sizes", self.sizes), ("operators", self.operators)):
            for name, count in counts.items():
                if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                    raise UserError(f"{field}.{name}: {count!r} is not a count; allowed: whole numbers from 1")
        if not self.size_bytes == self.sizes["onnx"] == self.bytes.total:
            raise UserError(
                f"size_bytes: {self.size_bytes}, sizes.onnx: {self.sizes['onnx']} and the sum of bytes:"
                f" {self.bytes.total} differ; {AGAIN}"
            )
        if abs(100 * self.correct / self.test_images - self.test_top1) > TOP1_ROUNDING:
            raise UserError(
                f"correct: {self.correct} of {self.test_images} is not test_top1: {self.test_top1}; {AGAIN}"
            )


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
    """How far the forms of one program are apart.

    `flipped_pct` are the predictions that differ in the worst pair of forms; `layer_steps` is the largest difference at
    a layer's output, given the same inputs, in integer steps.
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
    root: Path,
    results: Path,
    ptq: Collection[str],
    qat: Collection[str],
    calibrated: Collection[str],
) -> Evidence:
    """Read everything that was measured, and the comparisons.

    Args:
        root: the folder of metrics: fp32.json, channel_ranges.csv, calibration/, simulated/, int8/, parity/,
            learning/, drift/, causes/ and oscillation/.
        results: holds paired.csv, seeds.csv, methods.csv and contrasts.csv.
        ptq: names of the configurations quantized after training.
        qat: names of the retrained ones.
        calibrated: names of those that were calibrated in several ways.

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
        paired=_read_paired(results / "paired.csv", programs),
        seeds=SEEDS.read(results / "seeds.csv", qat),
        methods=_read_methods(results / "methods.csv", quantized),
        contrasts=CONTRASTS.read(results / "contrasts.csv", quantized),
        calibration=CALIBRATION.gather(root / "calibration", ".csv", calibrated),
    )


def _read_paired(path: Path, programs: Mapping[str, ProgramEvidence]) -> pd.DataFrame:
    """The comparisons; those with FP32 are of every program, and have the gap that was measured."""
    paired = PAIRED.read(path, programs)
    found = paired[paired["reference"] == "fp32"].set_index("config")["gap_points"].to_dict()
    for name, program in programs.items():
        measured = program.int8.test_top1 - program.fp32.test_top1
        if name not in found or abs(found[name] - measured) > 2 * TOP1_ROUNDING:
            raise UserError(
                f"{path}: the gap of {name} to fp32 is {found.get(name, 'missing')}, but {measured:.4f} was measured;"
                f" {AGAIN}"
            )
    return paired


def _read_methods(path: Path, names: Collection[str]) -> pd.DataFrame:
    """What each configuration is over its seeds; the interval is nan where there is one seed."""
    methods = METHODS.read(path, names)
    missing = [name for name in names if name not in set(methods["config"])]
    if missing:
        raise UserError(f"{path}: {missing[0]} is missing; {AGAIN}")
    return methods


def read_program_evidence(root: Path, name: str) -> ProgramEvidence:
    """Read what belongs to one configuration below `root`, the folder of metrics.

    Raises:
        UserError: a file is missing, damaged or incomplete, or program and FP32 network were tested on other images.
    """
    fp32 = read_metrics(root / "fp32.json", Fp32Metrics)
    path = root / "int8" / f"{name}.json"
    int8 = read_metrics(path, Int8Metrics)
    if int8.test_images != fp32.test_images:
        raise UserError(
            f"{path}: test_images: {int8.test_images}, but {fp32.test_images} in {root / 'fp32.json'};"
            " run the stages that write them"
        )
    return ProgramEvidence(
        fp32=fp32,
        simulated=read_metrics(root / "simulated" / f"{name}.json", SimulatedMetrics),
        int8=int8,
        parity=read_metrics(root / "parity" / f"{name}.json", ParityMetrics),
        pairs=_read_pairs(root / "parity" / f"{name}.csv", name),
        confusion=CONFUSION.read(root / "int8" / f"{name}.confusion.csv", [name]),
    )


def _read_pairs(path: Path, name: str) -> pd.DataFrame:
    pairs = PAIRS.read(path, [name])
    forms = {*pairs["one"], *pairs["other"]}
    if not {"simulation", "onnx"} <= forms <= set(known_forms()):
        found = ", ".join(sorted(forms)) or "nothing"
        raise UserError(
            f"{path}: compares {found}; allowed: simulation and onnx, and any of {', '.join(known_forms())}; {AGAIN}"
        )
    return pairs


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
