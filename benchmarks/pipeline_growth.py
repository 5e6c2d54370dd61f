"""What DVC, its cache and the report cost as the number of QAT configurations grows: `make bench-growth`.

Only the tables are really made, see `many_configurations.py`. Up to `--first` configurations everything is run by
`dvc repro`; from there on, the state that it would leave is written at once, because `dvc repro` takes hours, and
its time is extrapolated. Beyond `--commands` configurations only the pipeline is read and the tables are made.
Then comes what ImageNet would need, see `imagenet_plan.py`.

Writes `pipeline_growth_<hardware>_<versions>.csv`, a row for each figure. Rows that are there already stay unless they
are measured anew, so sizes can be measured one at a time. Costs are CPU seconds: other work on the machine changes
them less than it changes the time.
"""

import argparse
import math
import pstats
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import ruamel.yaml
import torch
from imagenet_plan import plan
from machine import machine_slug
from many_configurations import (
    TEMPLATE,
    Pipeline,
    copy_metrics,
    copy_outputs,
    make_pipeline,
    record,
    run_measured,
    without_modules,
)

from selectq.errors import UserError
from selectq.files import write_csv
from selectq.stage import run

HERE = Path(__file__).resolve().parent
PACKAGES = ("dvc", "ruamel.yaml")
SIZES = (10, 20, 100, 300, 1000)
SMALLEST = 4
"""Configurations of the made-up run."""

FIRST = "dvc repro, first"
NO_OP = "dvc repro, nothing to do"
TABLES = "stages/table.py"
PARSER = "C" if getattr(ruamel.yaml, "__with_libyaml__", False) else "Python"
"""What DVC's library reads YAML with: ruamel.yaml.clib if that is installed."""

COMMANDS = {
    "dvc stage list": ("stage", "list"),
    NO_OP: ("repro",),
    "dvc repro --single-item, nothing to do": ("repro", "--single-item", f"qat@{TEMPLATE}"),
    "dvc status": ("status",),
    "dvc push --run-cache": ("push", "--run-cache"),
    "dvc plots show": ("plots", "show"),
}


@dataclass(frozen=True)
class Row:
    """One figure. `configurations` and `stages` are None where it is of no pipeline; `value` where it took too long."""

    configurations: int | None
    stages: int | None
    parser: str | None
    measure: str
    value: float | None
    unit: str
    how: str


KEY = ["configurations", "parser", "measure", "unit"]


PARTS = {
    "writing dvc.lock": ("dvcfile.py", "_dump_lockfile"),
    "reading dvc.lock": ("dvcfile.py", "lockfile_contents"),
    "reading params.yaml": ("param.py", "read_param_file"),
}
"""Functions of DVC, none of which calls another, whose shares of its time are told."""


@dataclass(frozen=True)
class Limits:
    """Up to how many configurations what is run, and how long a command may take, in CPU seconds."""

    first: int
    commands: int
    seconds: int


@dataclass(frozen=True)
class Recorder:
    """Makes rows of one pipeline."""

    pipeline: Pipeline
    configurations: int
    stages: int
    limit_s: int

    def row(self, measure: str, value: float | None, unit: str, how: str = "measured") -> Row:
        """A figure of this pipeline."""
        return Row(self.configurations, self.stages, PARSER, measure, value, unit, how)

    def cost(self, measure: str, work: Callable[[], float]) -> list[Row]:
        """The CPU seconds that `work` returns, or that it took too many."""
        try:
            return [self.row(measure, work(), "CPU s")]
        except subprocess.TimeoutExpired:
            return [self.row(measure, None, "CPU s", f"stopped after {self.limit_s} CPU s")]

    def command(self, measure: str, *arguments: str) -> list[Row]:
        """The cost of a DVC command."""
        return self.cost(measure, lambda: self.pipeline.dvc(*arguments, limit_s=self.limit_s))


def measure_size(folder: Path, configurations: int, limits: Limits) -> Iterator[list[Row]]:
    """The rows of a pipeline with so many configurations, made in `folder`, as they come in."""
    pipeline = make_pipeline(folder / "pipeline", configurations)
    recorder = Recorder(pipeline, configurations, pipeline.stages(), limits.seconds)
    yield recorder.command("dvc stage list, nothing run yet", "stage", "list")
    if configurations <= limits.first:
        yield recorder.command(FIRST, "repro")
    copy_metrics(pipeline)
    yield recorder.cost(TABLES, lambda: run_measured(["python", "stages/table.py"], pipeline.root, limits.seconds))
    yield file_sizes(recorder)
    if configurations <= limits.commands:
        yield from measure_commands(folder, recorder)


def measure_commands(folder: Path, recorder: Recorder) -> Iterator[list[Row]]:
    """What DVC's commands cost after everything has run, and then with one configuration more."""
    pipeline = recorder.pipeline
    copy_outputs(pipeline)
    record(pipeline)
    pipeline.commit()
    pipeline.dvc("remote", "add", "--default", "team", str(folder / "remote"))
    yield cache_sizes(recorder)
    for measure, arguments in COMMANDS.items():
        yield recorder.command(measure, *arguments)
    yield shares(recorder, NO_OP)
    pipeline.widen(recorder.configurations + 1)
    yield recorder.command("dvc repro, one configuration more", "repro")
    yield recorder.command("dvc metrics diff", "metrics", "diff")


def measure_shares(folder: Path, configurations: int, limits: Limits) -> Iterator[list[Row]]:
    """Where the time of the first `dvc repro` goes."""
    pipeline = make_pipeline(folder / "profiled", configurations)
    yield shares(Recorder(pipeline, configurations, pipeline.stages(), limits.seconds), FIRST)


def measure_without_modules(folder: Path, configurations: int, limits: Limits) -> Iterator[list[Row]]:
    """The first and the second `dvc repro` of the same pipeline if stages did not list the package's modules."""
    pipeline = make_pipeline(folder / "lean", configurations)
    without_modules(pipeline)
    recorder = Recorder(pipeline, configurations, pipeline.stages(), limits.seconds)
    yield recorder.command(f"{FIRST}, stages without modules", "repro")
    yield recorder.command(f"{NO_OP}, stages without modules", "repro")
    yield [recorder.row("dvc.lock, stages without modules", (pipeline.root / "dvc.lock").stat().st_size, "bytes")]


def shares(recorder: Recorder, measure: str) -> list[Row]:
    """The shares of `dvc repro`'s time, in percent, that each of PARTS takes, by Python's profiler."""
    path = recorder.pipeline.root / ".dvc/tmp/profile"
    command = [sys.executable, "-m", "cProfile", "-o", str(path), "-m", "dvc", "repro"]
    try:
        run_measured(command, recorder.pipeline.root, recorder.limit_s)
    except subprocess.TimeoutExpired:
        return []
    profile = pstats.Stats(str(path))
    found = profile.stats.items()  # type: ignore[attr-defined]
    times = {(Path(file).name, function): figures[3] for (file, _, function), figures in found}
    total = profile.total_tt  # type: ignore[attr-defined]
    return [
        recorder.row(f"{measure}: {name}", 100 * times.get(part, 0.0) / total, "% of the time", "measured by cProfile")
        for name, part in PARTS.items()
    ]


def file_sizes(recorder: Recorder) -> list[Row]:
    """The parameters, and what the tables come to; not that where they took too long."""
    root = recorder.pipeline.root
    files = (root / name for name in ("params.yaml", "metrics/summary.json", "results/report.html"))
    present = [path for path in files if path.exists()]
    rows = [recorder.row(path.relative_to(root).as_posix(), path.stat().st_size, "bytes") for path in present]
    if (page := root / "results/report.html") in present:
        rows.append(recorder.row("results/report.html", page.read_bytes().count(b"<img"), "pictures"))
    return rows


def cache_sizes(recorder: Recorder) -> list[Row]:
    """The lock, and objects and bytes of both caches."""
    root = recorder.pipeline.root
    rows = [recorder.row("dvc.lock", (root / "dvc.lock").stat().st_size, "bytes")]
    for part in ("files", "runs"):
        paths = [path for path in (root / ".dvc/cache" / part).rglob("*") if path.is_file()]
        name, total = f"cache/{part}, made-up outputs", sum(path.stat().st_size for path in paths)
        rows += [recorder.row(name, len(paths), "objects"), recorder.row(name, total, "bytes")]
    return rows


def extrapolate(table: pd.DataFrame) -> list[Row]:
    """CPU seconds of FIRST, NO_OP and TABLES at the sizes beyond those where they were measured.

    By the power law through the two largest that were, of the parser in use: what does not grow weighs least there.
    """
    of_parser = table[table["parser"] == PARSER]
    sizes = of_parser.groupby("configurations")["stages"].max()
    return [row for measure in (FIRST, NO_OP, TABLES) for row in _beyond(of_parser, measure, sizes)]


def _beyond(table: pd.DataFrame, measure: str, sizes: pd.Series) -> list[Row]:
    costs = table[(table["measure"] == measure) & (table["unit"] == "CPU s") & (table["how"] == "measured")]
    costs = costs.sort_values("stages")[-2:]
    if len(costs) < 2:
        return []
    (low, high), (short, long) = costs["stages"], costs["value"]
    power = power_of((low, high), (short, long))
    how = f"extrapolated: {long:.0f} s at {high:.0f} stages, to the power {power:.2f} of their number"
    return [
        Row(int(str(size)), int(stages), PARSER, measure, long * (stages / high) ** power, "CPU s", how)
        for size, stages in sizes.items()
        if stages > high
    ]


def power_of(counts: tuple[float, float], costs: tuple[float, float]) -> float:
    """The power with which a cost grows between two counts."""
    return math.log(costs[1] / costs[0]) / math.log(counts[1] / counts[0])


def merged(old: pd.DataFrame, new: Sequence[Row]) -> pd.DataFrame:
    """The rows of both, the newer of two with the same key, by size."""
    table = pd.DataFrame([astuple(row) for row in new], columns=[field.name for field in fields(Row)])
    table = pd.concat([old, table], ignore_index=True) if len(old) else table
    for column in ("configurations", "stages"):
        table[column] = table[column].astype("Int64")
    table["value"] = table["value"].astype(float)
    table = table.drop_duplicates(KEY, keep="last")
    return table.sort_values(["configurations", "parser"], kind="stable", ignore_index=True)


def main() -> None:
    """Measure each size, and write the table after each."""
    arguments = _arguments()
    limits = Limits(arguments.first, arguments.commands, arguments.limit)
    path = arguments.output / f"pipeline_growth_{machine_slug(torch.device('cpu'), PACKAGES)}.csv"
    for rows in _measurements(arguments.sizes, limits, arguments.plan):
        for row in rows:
            print(row.configurations, row.measure, row.value, row.unit, row.how, flush=True)
        old = pd.read_csv(path) if path.exists() else pd.DataFrame()
        table = merged(old, rows)
        write_csv(path, merged(table, extrapolate(table)), digits=3)
    print(f"written: {path}")


def _measurements(sizes: Sequence[int], limits: Limits, with_plan: bool) -> Iterator[list[Row]]:
    for size in sizes:
        with TemporaryDirectory() as folder:
            yield from measure_size(Path(folder), size, limits)
            if size <= limits.first:
                yield from measure_without_modules(Path(folder), size, limits)
                yield from measure_shares(Path(folder), size, limits)
    if with_plan:
        with TemporaryDirectory() as folder:
            yield [
                Row(None, None, None, f"imagenet: {need.name}", need.value, need.unit, need.how)
                for need in plan(Path(folder))
            ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="configurations of QAT")
    parser.add_argument("--first", type=int, default=20, help="up to so many, the first `dvc repro` is run")
    parser.add_argument("--commands", type=int, default=100, help="up to so many, DVC's commands are run")
    parser.add_argument("--limit", type=int, default=1800, help="CPU seconds after which a command is stopped")
    parser.add_argument("--no-plan", dest="plan", action="store_false", help="leave out what ImageNet would need")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        if size < SMALLEST:
            raise UserError(f"--sizes: {size} is out of range; allowed: {SMALLEST} or more")
    return arguments


if __name__ == "__main__":
    run(main)
