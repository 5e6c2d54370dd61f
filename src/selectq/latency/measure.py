"""Program files timed in turns, in every runtime that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

from selectq.errors import UserError
from selectq.latency.operators import NodeTimes, profile
from selectq.latency.turns import TURNS, Run, Timing, images_per_second, spread, time_sides
from selectq.programs.format import Images, Runtime
from selectq.programs.program import find, format_of

LEAST_PROFILED, MOST_PROFILED = 3, 200
"""Inferences that a profile is made of."""


@dataclass(frozen=True)
class TimedProgram:
    """A file, its number on the command line, and what it is fed."""

    number: int
    path: Path
    images: Images

    def check(self, batch: int) -> None:
        """That it takes so many images at once.

        Raises:
            UserError: it does not.
        """
        least, most = self.images.least, self.images.most
        if batch < least or (most is not None and batch > most):
            allowed = f"{most}" if least == most else f"{least} to {most}"
            raise UserError(f"--batch: {self.path} does not take {batch} images at once; allowed: {allowed}")

    @property
    def runtimes(self) -> list[Runtime]:
        """What is installed for files of its ending.

        Raises:
            UserError: nothing is.
        """
        every = find(self.path.suffix[1:]).runtimes()
        if not (installed := [runtime for runtime in every if runtime.installed]):
            packages = " or ".join(runtime.package for runtime in every)
            raise UserError(f"{self.path}: nothing is installed that runs it; install {packages}")
        return installed


@dataclass(frozen=True)
class Load:
    """Images of an inference, and threads of each runtime."""

    batch: int
    threads: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Latency:
    """A program in a runtime and a load; `timed` is as `time_sides` gives it."""

    program: TimedProgram
    runtime: Runtime
    load: Load
    timed: list[list[float]]

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """10th percentile, median and 90th percentile of all inferences."""
        every = [1000 * seconds for turn in self.timed for seconds in turn]
        tenths = quantiles(every, n=10, method="inclusive")
        return tenths[0], median(every), tenths[-1]

    @property
    def speeds(self) -> list[float]:
        """Images per second, turn by turn."""
        return images_per_second(self.timed, self.load.batch)

    def ratio(self, other: "Latency") -> float:
        """How many times as fast as `other`: the median over the rounds."""
        return spread(Timing(self.speeds, other.speeds).ratios()).median


def read_programs(files: Sequence[Path]) -> list[TimedProgram]:
    """The files, numbered from 1.

    Raises:
        UserError: one is missing, of no known format, damaged, its runtime is not installed, or it takes something else
            than images of one size.
    """
    return [TimedProgram(number, path, format_of(path).images(path)) for number, path in enumerate(files, 1)]


def measure(programs: Sequence[TimedProgram], load: Load, seconds: float) -> tuple[list[Latency], list[str]]:
    """All programs in all their runtimes, made ready, timed in turns, and dropped again.

    ONNX Runtime and OpenVINO have threads of their own for each session. PyTorch's number and ExecuTorch's pool are the
    process's: sides of one number of threads are made ready and timed together.

    Returns:
        What was measured, in `seconds` on the clock for each program in each runtime, and which runtimes are left out
        because they cannot run a program that another one runs.

    Raises:
        UserError: no runtime can run a program.
    """
    ready: list[tuple[TimedProgram, Runtime, Run]] = []
    left_out: list[str] = []
    for program in programs:
        refused = []
        for runtime in program.runtimes:
            try:
                ready.append((program, runtime, _ready(program, runtime, load)))
            except UserError as error:
                refused.append(str(error))
        if len(refused) == len(program.runtimes):
            raise UserError(refused[0])
        left_out += refused
    turns = replace(TURNS, seconds=seconds / TURNS.repeats)
    timed = time_sides({number: run for number, (*_, run) in enumerate(ready)}, turns, str(load))
    measured = [Latency(program, runtime, load, timed[n]) for n, (program, runtime, _) in enumerate(ready)]
    return measured, left_out


def _ready(program: TimedProgram, runtime: Runtime, load: Load) -> Run:
    """One inference, which has run once."""
    try:
        run = runtime.prepare(program.path, program.images.random(load.batch), load.threads)
        run()
    except Exception as error:  # runtimes' own exception types are not public
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{program.path}: {runtime.name} cannot run it with {load} ({reason})") from None
    return run


def slowest_nodes(measured: Latency, seconds: float) -> list[NodeTimes]:
    """The nodes of an ONNX file, the slowest first, from about so many seconds of inferences."""
    images, load = measured.program.images, measured.load
    runs = int(1000 * seconds / measured.milliseconds[1])
    feed = {images.name: images.random(load.batch)}
    nodes = profile(measured.program.path, feed, min(max(runs, LEAST_PROFILED), MOST_PROFILED), threads=load.threads)
    return sorted(nodes, key=lambda node: -median(node.microseconds))
