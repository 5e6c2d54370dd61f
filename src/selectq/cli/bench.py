"""`selectq bench`: how long programs take on this machine, side by side."""

import importlib.metadata
import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from selectq.cli.text import WIDTH, aligned, printable, show, wrapped
from selectq.errors import UserError
from selectq.files import require_writable, write_json
from selectq.latency.measure import Latency, Load, TimedProgram, measure, read_programs, slowest_nodes
from selectq.latency.operators import NodeTimes
from selectq.parity.environment import describe_environment

SHOWN_NODES = 10
NAME_WIDTH, NODE_WIDTH = 38, 26
"""Columns of a terminal, so that lines fit."""

FED = {"uint8": "random codes from 0 to 255", "float32": "random numbers from 0 to 1"}


def run_bench(
    files: Sequence[Path],
    *,
    batch: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    layers: bool = False,
    seconds: float = 2.0,
    json: Path | None = None,
) -> None:
    """Time programs in turns, print tables, and write the figures.

    Args:
        files (FILE): an INT8 program (.onnx, .pt2 or .pte), or any ONNX file with one input of uint8 or float32 images
        batch (N): images at once (default 1)
        threads (N): of each program (default 1)
        layers: profile ONNX files node by node, too
        seconds (S): on the clock, for each row of the tables (default 2)
        json (FILE): write the figures as JSON too

    Raises:
        UserError: a file or a load that is not as it should be, or `json` cannot be a file.
    """
    _check(batch, threads, seconds)
    if json:
        require_writable("--json", json)
    programs = read_programs(files)
    for program, size in product(programs, batch):
        program.check(size)
    machine = _machine(programs)
    show([*_machine_lines(machine), *(line for program in programs for line in _program_lines(program))])
    rows: dict[str, list[dict[str, Any]]] = {"measured": [], "comparisons": [], "nodes": []}
    for load in dict.fromkeys(Load(size, number) for number, size in product(threads, batch)):
        measured, left_out = measure(programs, load, seconds)
        show(["", *_table(measured), *(line for text in left_out for line in wrapped("left out: ", printable(text)))])
        rows["measured"] += map(_row, measured)
        rows["comparisons"] += _comparisons(measured)
        for entry in measured if layers else []:
            if entry.runtime.name == "ONNX Runtime":
                nodes = slowest_nodes(entry, seconds)
                show(["", *_node_table(entry, nodes)])
                rows["nodes"] += _node_rows(entry, nodes)
    if json:
        write_json(json, {"machine": machine, **rows})


def _check(batches: Sequence[int], threads: Sequence[int], seconds: float) -> None:
    for key, values in (("--batch", batches), ("--threads", threads)):
        if min(values) < 1:
            raise UserError(f"{key}: {min(values)} is out of range; allowed: 1 or more")
    if not 0 < seconds < math.inf:
        raise UserError(f"--seconds: {seconds:g} is out of range; allowed: more than 0")


def _machine(programs: Sequence[TimedProgram]) -> dict[str, Any]:
    """The environment, with the versions of the runtimes that are timed under `runtimes`."""
    runtimes = dict.fromkeys(runtime for program in programs for runtime in program.runtimes)
    versions = {runtime.name: importlib.metadata.version(runtime.package) for runtime in runtimes}
    return {**describe_environment(), "runtimes": versions}


def _machine_lines(machine: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["runtimes"].items())
    return wrapped("", f"{' '.join([machine['architecture'], *machine['instructions']])}; {versions}")


def _program_lines(program: TimedProgram) -> list[str]:
    images = program.images
    shape = ", ".join(["batch", *map(str, images.shape)])
    fed = f"fed: {printable(images.name)}, {images.dtype} ({shape}), {FED[images.dtype]}"
    return [f"{program.number} {printable(str(program.path))}", *wrapped("  ", fed)]


def _table(measured: Sequence[Latency]) -> list[str]:
    rows = [(str(measured[0].load), "ms", "10 % to 90 %", "images/s", "ratio")]
    for entry in measured:
        low, middle, high = map(_digits, entry.milliseconds)
        speed = f"{median(entry.speeds):,.0f}"
        rows.append((_name(entry), middle, f"{low} to {high}", speed, f"{entry.ratio(measured[0]):.2f}"))
    return aligned(rows, left=1)


def _name(entry: Latency) -> str:
    runtime = f", {entry.runtime.name}"
    return _ended(f"{entry.program.number} ", entry.program.path.name, NAME_WIDTH - len(runtime)) + runtime


def _ended(label: str, text: str, width: int) -> str:
    """A label and the end of a text that is too long for so many columns."""
    text, left = printable(text), width - len(label)
    return label + (text if len(text) <= left else f"…{text[1 - left :]}")


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _node_table(entry: Latency, nodes: Sequence[NodeTimes]) -> list[str]:
    rows = [("node", "operator", "reads", "µs", "share")]
    for row in _node_rows(entry, nodes)[:SHOWN_NODES]:
        figures = f"{row['microseconds']:,.0f}", f"{row['share_pct']:.1f} %"
        rows.append((_ended("", row["node"], NODE_WIDTH), row["operator"], row["reads"], *figures))
    total = sum(row["microseconds"] for row in _node_rows(entry, nodes))
    rows.append((f"all {len(nodes)} nodes", "", "", f"{total:,.0f}", "100.0 %"))
    heading = f", {entry.load}, by ONNX Runtime's profiler"
    name = _ended(f"{entry.program.number} ", entry.program.path.name, WIDTH - len(heading))
    return [name + heading, *aligned(rows, left=3)]


def _row(entry: Latency) -> dict[str, Any]:
    low, middle, high = entry.milliseconds
    return {
        **_identity(entry),
        "ms_p10": low,
        "ms_median": middle,
        "ms_p90": high,
        "images_per_second": median(entry.speeds),
    }


def _identity(entry: Latency) -> dict[str, Any]:
    load = entry.load
    names = {"file": str(entry.program.path), "runtime": entry.runtime.name}
    return {**names, "batch": load.batch, "threads": load.threads}


def _comparisons(measured: Sequence[Latency]) -> Iterator[dict[str, Any]]:
    """The first program with each other: rows as the files hold them that model cards take their latency from."""
    first, *others = measured
    for entry in others:
        yield {
            "case": first.program.path.stem,
            "batch": first.load.batch,
            "threads": first.load.threads,
            "ours": median(first.speeds),
            "peer_name": f"{entry.program.path.name}, {entry.runtime.name}",
            "peer": median(entry.speeds),
            "ratio": first.ratio(entry),
        }


def _node_rows(entry: Latency, nodes: Sequence[NodeTimes]) -> list[dict[str, Any]]:
    times = [median(node.microseconds) for node in nodes]
    return [
        {
            **_identity(entry),
            "node": node.name,
            "operator": node.operator,
            "reads": node.reads,
            "microseconds": time,
            "share_pct": 100 * time / sum(times),
        }
        for node, time in zip(nodes, times, strict=True)
    ]
