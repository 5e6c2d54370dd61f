"""Where the time of an ONNX file goes, node by node, by ONNX Runtime's own profiler.

The profiler counts whole microseconds and takes time itself: at batch 1, where an operator takes a few of them, shares
are rough, and their sum is more than an inference takes without it.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from selectq.export.onnx import session_options

BURN_IN_RUNS = 3
SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class NodeTimes:
    """A node of the graph as the runtime optimises it: name, kind, type of its first input, and its time run by run."""

    name: str
    operator: str
    reads: str
    microseconds: list[float]


def profile(model: Path, feed: Mapping[str, NDArray[Any]], runs: int, threads: int) -> list[NodeTimes]:
    """All nodes, timed in `runs` inferences of `feed` after some that do not count."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = session_options(threads)
        options.optimized_model_filepath = str(optimised)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(BURN_IN_RUNS + runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        kinds = {node.name: operator_kind(node) for node in onnx.load(optimised).graph.node}
    return node_times(kinds, events, BURN_IN_RUNS)


def operator_kind(node: onnx.NodeProto) -> str:
    """The operator's name; of a convolution also whether it is depthwise, pointwise (1x1), or neither."""
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if not node.op_type.endswith("Conv") or "kernel_shape" not in attributes:
        return str(node.op_type)
    if attributes.get("group", 1) > 1:
        return f"{node.op_type}, depthwise"
    size = attributes["kernel_shape"]
    return f"{node.op_type}, pointwise" if set(size) == {1} else f"{node.op_type}, {'x'.join(map(str, size))}"


def node_times(kinds: Mapping[str, str], events: list[dict[str, Any]], burn_in: int) -> list[NodeTimes]:
    """The nodes in the profiler's events, less the first `burn_in` runs; `kinds` is by the nodes' names."""
    by_name = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(SUFFIX):
            by_name[event["name"].removesuffix(SUFFIX)].append(event)
    return [_node_times(name, kinds, found, burn_in) for name, found in by_name.items()]


def _node_times(name: str, kinds: Mapping[str, str], events: list[dict[str, Any]], burn_in: int) -> NodeTimes:
    described = events[0]["args"]
    kind = kinds.get(name, described["op_name"])  # a node without a name is called after its operator here alone
    reads = next((str(dtype) for tensor in described["input_type_shape"][:1] for dtype in tensor), "")
    return NodeTimes(name, kind, reads, [event["dur"] for event in events[burn_in:]])
