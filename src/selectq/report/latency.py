"""How fast a program is: the measurements of `benchmarks/results` that suit it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from selectq.config.configs import ModelConfig
from selectq.report.formatting import NOTHING, number_columns, text_columns
from selectq.report.markdown import markdown_table, prose
from selectq.statistics.schemas import BENCHMARK, LATENCY


@dataclass(frozen=True)
class Workload:
    """What a program's speed depends on, which is not its weights; `scheme` is of the activations."""

    network: str
    strides_removed: int
    activation: str
    image_size: int
    scheme: str

    @classmethod
    def of(cls, model: ModelConfig, image_size: int, scheme: str) -> "Workload":
        """The workload of a network."""
        return cls(model.title, model.strides_removed, model.activation, image_size, scheme)


MEASURED = {
    Workload("mobilenet_v2", 1, "relu", 32, "asymmetric"): "asymmetric",
    Workload("mobilenet_v2", 1, "relu", 32, "symmetric"): "symmetric",
    Workload("mobilenet_v2", 2, "relu", 32, "asymmetric"): "asymmetric_stride_1",
}
"""What `benchmarks/bench_int8.py` measures -> its case."""


@dataclass(frozen=True)
class Latency:
    """One comparison on one thread, in images per second; `machine` is hardware and versions."""

    machine: str
    batch: int
    ours: float
    peer_name: str
    peer: float
    ratio: float


def read_latencies(folder: Path, workload: Workload) -> list[Latency]:
    """What was measured for a workload, from the newest `int8_<hardware>_<versions>.csv` of each machine in a folder.

    Raises:
        UserError: a file is damaged.
    """
    case = MEASURED.get(workload)
    return [latency for path in newest_files(folder) for latency in _read(path, case)] if case else []


OURS = "INT8 program, ONNX Runtime"


def latency_points(folder: Path) -> pd.DataFrame:
    """Every case that was measured, on one thread, from the files that `read_latencies` reads, as rows to plot.

    Returns:
        Columns as LATENCY: `case` of `MEASURED`, `batch` images at once, `ms_per_image` the time for a batch in
        milliseconds, divided by its images.

    Raises:
        UserError: a file is damaged.
    """
    found = [
        (*_machine(path), case, latency.batch, program, 1000 / images_per_second)
        for path in newest_files(folder)
        for case in MEASURED.values()
        for latency in _read(path, case)
        if latency.batch in UNITS
        for program, images_per_second in ((OURS, latency.ours), (latency.peer_name, latency.peer))
    ]
    return LATENCY.frame(found).drop_duplicates(ignore_index=True)


def newest_files(folder: Path) -> list[Path]:
    """Of each hardware the file of the highest versions, by hardware; files' names alone decide, not their times."""
    newest: dict[str, Path] = {}
    for path in sorted(folder.glob("int8_*.csv"), key=_versions):
        newest[_machine(path)[0]] = path
    newest.pop("profile", None)  # where the time goes, not how much it is
    return [path for _, path in sorted(newest.items())]


def _machine(path: Path) -> tuple[str, str]:
    """The hardware and the versions that a file's name tells."""
    _, hardware, *versions = path.stem.split("_")
    return hardware, ", ".join(versions)


def _versions(path: Path) -> tuple[list[int], str]:
    versions = "_".join(path.stem.split("_")[2:])
    return [int(number) for number in re.findall(r"\d+", versions)], path.name


def _read(path: Path, case: str) -> list[Latency]:
    table = BENCHMARK.read(path)
    rows = table[(table["case"] == case) & (table["threads"] == 1)]
    hardware, versions = _machine(path)
    columns = rows[["batch", "ours", "peer_name", "peer", "ratio"]]
    return [Latency(f"{hardware} ({versions})", *row) for row in columns.itertuples(index=False, name=None)]


def write_latencies(latencies: Iterable[Latency]) -> list[str]:
    """The measurements as Markdown, a table for each machine; those of a machine come one after another."""
    shown = [latency for latency in latencies if latency.batch in UNITS]
    if not shown:
        return ["Not measured."]
    lines: list[str] = []
    for machine, of_machine in groupby(shown, lambda latency: latency.machine):
        lines += [*prose(f"{machine}, one thread:"), "", *_table(list(of_machine)), ""]
    notes = (
        "Of a program of the same geometry and activation scheme with other weights. Ratio: how many times as fast the"
        " INT8 program is."
    )
    return [*lines, *prose(notes)]


UNITS: dict[int, Callable[[float], str]] = {
    1: lambda images_per_second: f"{1000 / images_per_second:.2f} ms per image",
    64: lambda images_per_second: f"{images_per_second:,.0f} images/s",
}
"""Batch size -> how its speed is written."""


def _table(latencies: Sequence[Latency]) -> list[str]:
    columns = text_columns("What runs")
    for batch in UNITS:
        columns += number_columns(f"Batch {batch}", "Ratio")
    ours = {latency.batch: latency.ours for latency in latencies}
    measured = {(latency.batch, latency.peer_name): latency for latency in latencies}
    rows = [[OURS, *(cell for batch in UNITS for cell in (_speed(batch, ours.get(batch)), NOTHING))]]
    for name in dict.fromkeys(latency.peer_name for latency in latencies):
        rows.append([name, *(cell for batch in UNITS for cell in _peer_cells(measured.get((batch, name))))])
    return markdown_table(columns, rows)


def _peer_cells(latency: Latency | None) -> tuple[str, str]:
    return (_speed(latency.batch, latency.peer), f"{latency.ratio:.2f}") if latency else (NOTHING, NOTHING)


def _speed(batch: int, images_per_second: float | None) -> str:
    return UNITS[batch](images_per_second) if images_per_second else NOTHING
