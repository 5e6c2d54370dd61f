"""`selectq bench`: how long programs take on this machine, side by side."""

import importlib.metadata
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from selectq.cli.text import WIDTH, aligned, printable, wrapped
from selectq.errors import UserError
from selectq.files import require_writable, write_json
from selectq.latency.measure import Measured, Program, Setting, measure, read_programs, slowest_nodes
from selectq.latency.operators import NodeTimes
from selectq.latency.turns import spread
from selectq.parity.environment import describe_environment

SHOWN_NODES = 10
NAME_WIDTH, NODE_WIDTH = 38, 26
"""Columns of a terminal, so that lines fit."""

FED = {"uint8": "random codes from 0 to 255", "float32": "random numbers from 0 to 1"}


@dataclass(frozen=True)
class Plan:
    """What is measured: every batch size with every number of threads.

    Attributes:
        batches, threads: one or more of each.
        seconds: on the clock, for each program in each runtime and setting.
        layers: whether ONNX files are profiled too.
    """

    batches: Sequence[int]
    threads: Sequence[int]
    seconds: float
    layers: bool

    def settings(self) -> list[Setting]:
        """Each once."""
        return list(dict.fromkeys(Setting(batch, threads) for threads, batch in product(self.threads, self.batches)))


def run_bench(files: Sequence[Path], plan: Plan, json_file: Path | None) -> None:
    """Time programs in turns, print tables, and write the figures.

    Args:
        files: programs of selectq's, or ONNX files of one input of images.
        plan: how they are timed.
        json_file: where the figures go too; nowhere if None.

    Raises:
        UserError: a file or a setting that is not as it should be, or `json_file` cannot be a file.
    """
    _check(plan, json_file)
    programs = read_programs(files)
    for program, batch in product(programs, plan.batches):
        program.check(batch)
    machine = _machine(programs)
    _show([*_machine_lines(machine), *(line for program in programs for line in _program_lines(program))])
    rows: dict[str, list[dict[str, Any]]] = {"measured": [], "comparisons": [], "nodes": []}
    for setting in plan.settings():
        measured, left_out = measure(programs, setting, plan.seconds)
        _show(["", *_table(measured), *(line for text in left_out for line in wrapped("left out: ", printable(text)))])
        rows["measured"] += map(_row, measured)
        rows["comparisons"] += _comparisons(measured)
        for entry in measured if plan.layers else []:
            if entry.runtime.name == "ONNX Runtime":
                nodes = slowest_nodes(entry, plan.seconds)
                _show(["", *_node_table(entry, nodes)])
                rows["nodes"] += _node_rows(entry, nodes)
    if json_file:
        write_json(json_file, {"machine": machine, **rows})


def _check(plan: Plan, json_file: Path | None) -> None:
    for key, values in (("--batch", plan.batches), ("--threads", plan.threads)):
        if min(values) < 1:
            raise UserError(f"{key}: {min(values)} is out of range; allowed: 1 or more")
    if not 0 < plan.seconds < math.inf:
        raise UserError(f"--seconds: {plan.seconds:g} is out of range; allowed: more than 0")
    if json_file:
        require_writable("--json", json_file)


def _machine(programs: Sequence[Program]) -> dict[str, Any]:
    """The environment, with the versions of the runtimes that are timed under `runtimes`."""
    runtimes = dict.fromkeys(runtime for program in programs for runtime in program.runtimes)
    versions = {runtime.name: importlib.metadata.version(runtime.package) for runtime in runtimes}
    return {**describe_environment(), "runtimes": versions}


def _machine_lines(machine: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["runtimes"].items())
    return wrapped("", f"{' '.join([machine['architecture'], *machine['instructions']])}; {versions}")


def _program_lines(program: Program) -> list[str]:
    images = program.images
    shape = ", ".join(["batch", *map(str, images.shape)])
    fed = f"fed: {printable(images.name)}, {images.dtype} ({shape}), {FED[images.dtype]}"
    return [f"{program.number} {printable(str(program.path))}", *wrapped("  ", fed)]


def _table(measured: Sequence[Measured]) -> list[str]:
    rows = [(str(measured[0].setting), "ms", "10 % to 90 %", "images/s", "ratio")]
    for entry in measured:
        low, middle, high = map(_digits, entry.milliseconds)
        speed = f"{spread(entry.speeds).median:,.0f}"
        rows.append((_name(entry), middle, f"{low} to {high}", speed, f"{entry.ratio(measured[0]):.2f}"))
    return aligned(rows, left=1)


def _name(entry: Measured) -> str:
    runtime = f", {entry.runtime.name}"
    return _ended(f"{entry.program.number} ", entry.program.path.name, NAME_WIDTH - len(runtime)) + runtime


def _ended(label: str, text: str, width: int) -> str:
    """A label and the end of a text that is too long for so many columns."""
    text, left = printable(text), width - len(label)
    return label + (text if len(text) <= left else f"…{text[1 - left :]}")


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _node_table(entry: Measured, nodes: Sequence[NodeTimes]) -> list[str]:
    rows = [("node", "operator", "reads", "µs", "share")]
    for row in _node_rows(entry, nodes)[:SHOWN_NODES]:
        figures = f"{row['microseconds']:,.0f}", f"{row['share_pct']:.1f} %"
        rows.append((_ended("", row["node"], NODE_WIDTH), row["operator"], row["reads"], *figures))
    total = sum(row["microseconds"] for row in _node_rows(entry, nodes))
    rows.append((f"all {len(nodes)} nodes", "", "", f"{total:,.0f}", "100.0 %"))
    heading = f", {entry.setting}, by ONNX Runtime's profiler"
    name = _ended(f"{entry.program.number} ", entry.program.path.name, WIDTH - len(heading))
    return [name + heading, *aligned(rows, left=3)]


def _row(entry: Measured) -> dict[str, Any]:
    low, middle, high = entry.milliseconds
    return {
        **_identity(entry),
        "ms_p10": low,
        "ms_median": middle,
        "ms_p90": high,
        "images_per_second": spread(entry.speeds).median,
    }


def _identity(entry: Measured) -> dict[str, Any]:
    setting = entry.setting
    names = {"file": str(entry.program.path), "runtime": entry.runtime.name}
    return {**names, "batch": setting.batch, "threads": setting.threads}


def _comparisons(measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """The first program with each other: rows as the files hold them that model cards take their latency from."""
    first, *others = measured
    for entry in others:
        yield {
            "case": first.program.path.stem,
            "batch": first.setting.batch,
            "threads": first.setting.threads,
            "ours": spread(first.speeds).median,
            "peer_name": f"{entry.program.path.name}, {entry.runtime.name}",
            "peer": spread(entry.speeds).median,
            "ratio": first.ratio(entry),
        }


def _node_rows(entry: Measured, nodes: Sequence[NodeTimes]) -> list[dict[str, Any]]:
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


def _show(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)
