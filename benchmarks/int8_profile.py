"""Where the time of an ONNX file goes, operator by operator, by ONNX Runtime's own profiler.

The profiler counts whole microseconds and takes time itself: at batch 1, where an operator takes a few of them, shares
are rough, and their sum is more than an inference takes without it.
"""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import onnx
import onnxruntime
import pandas as pd
from int8_sides import session_options
from numpy.typing import NDArray

from selectq.programs.manifest import INPUT_NAME

BURN_IN_RUNS = 3
COLUMNS = ["model", "batch", "operator", "nodes", "microseconds", "share_pct"]


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one kind of operator, and the time of one inference that they take together."""

    operator: str
    nodes: int
    microseconds: float


def profile(model: Path, images: NDArray[Any], runs: int) -> list[OperatorTime]:
    """The slowest operators first: median over `runs` inferences of all `images`, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = session_options(threads=1)
        options.optimized_model_filepath = str(optimised)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(BURN_IN_RUNS + runs):
            session.run(None, {INPUT_NAME: images})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        kinds = {node.name: operator_kind(node) for node in onnx.load(optimised).graph.node}
    return operator_times(kinds, kernel_times(events), BURN_IN_RUNS)


def operator_kind(node: onnx.NodeProto) -> str:
    """The operator's name; of a convolution also whether it is depthwise, pointwise (1x1), or neither."""
    if not node.op_type.endswith("Conv"):
        return node.op_type
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if attributes.get("group", 1) > 1:
        return f"{node.op_type}, depthwise"
    size = attributes["kernel_shape"]
    return f"{node.op_type}, pointwise" if set(size) == {1} else f"{node.op_type}, {'x'.join(map(str, size))}"


def kernel_times(events: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Node name -> microseconds in each run, from the profiler's events."""
    suffix = "_kernel_time"
    times = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(suffix):
            times[event["name"].removesuffix(suffix)].append(event["dur"])
    return dict(times)


def operator_times(kinds: dict[str, str], times: dict[str, list[float]], burn_in: int) -> list[OperatorTime]:
    """Sum over the nodes of a kind, median over the runs; the first `burn_in` runs do not count."""
    nodes = defaultdict(list)
    for name, durations in times.items():
        kind = kinds.get(name, name.rpartition("_")[0])  # a node without a name: its operator and a number
        nodes[kind].append(durations[burn_in:])
    sums = [OperatorTime(kind, len(rows), median(map(sum, zip(*rows, strict=True)))) for kind, rows in nodes.items()]
    return sorted(sums, key=lambda entry: -entry.microseconds)


def profile_table(profiles: dict[tuple[str, int], list[OperatorTime]]) -> pd.DataFrame:
    """One row for each operator of each (model, batch); `microseconds` of one inference of the whole batch."""
    rows = [
        (model, batch, entry.operator, entry.nodes, round(entry.microseconds, 1), round(100 * share, 1))
        for (model, batch), entries in profiles.items()
        for entry, share in zip(entries, _shares(entries), strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _shares(entries: list[OperatorTime]) -> list[float]:
    total = sum(entry.microseconds for entry in entries)
    return [entry.microseconds / total for entry in entries]
