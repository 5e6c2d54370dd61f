"""From the profiler's events to the nodes' times."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from selectq.latency.operators import NodeTimes, node_times, operator_kind, profile


@pytest.mark.parametrize(
    ("operator", "group", "size", "kind"),
    [
        ("QLinearConv", 32, [3, 3], "QLinearConv, depthwise"),
        ("Conv", 1, [1, 1], "Conv, pointwise"),
        ("Conv", 1, [3, 3], "Conv, 3x3"),
    ],
)
def test_convolutions_are_told_apart(operator: str, group: int, size: list[int], kind: str) -> None:
    assert operator_kind(helper.make_node(operator, ["x"], ["y"], group=group, kernel_shape=size)) == kind


def test_other_operators_go_by_their_name() -> None:
    assert operator_kind(helper.make_node("QLinearAdd", ["a", "b"], ["c"])) == "QLinearAdd"


def event(name: str, microseconds: int, reads: str = "float") -> dict[str, Any]:
    described = {"op_name": "Conv", "input_type_shape": [{reads: [1]}, {"int64": [8]}] if reads else []}
    return {"cat": "Node", "name": name, "dur": microseconds, "args": described}


def test_node_times_leave_out_the_burn_in_and_what_is_no_kernel() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "dur": 90},
        {"cat": "Node", "name": "a_fence_before", "dur": 1},
        event("a_kernel_time", 70, "uint8"),
        event("Conv_7_kernel_time", 80),
        event("a_kernel_time", 2, "uint8"),
        event("Conv_7_kernel_time", 3),
    ]
    assert node_times({"a": "QLinearConv, 3x3"}, events, burn_in=1) == [
        NodeTimes("a", "QLinearConv, 3x3", "uint8", [2]),
        NodeTimes("Conv_7", "Conv", "float", [3]),
    ]


def test_node_without_inputs_reads_nothing() -> None:
    (found,) = node_times({}, [event("a_kernel_time", 1, reads="")], burn_in=0)
    assert found.reads == ""


def test_profile_of_a_file_names_its_operators(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((8, 1, 3, 3), np.float32), "weight")
    nodes = [
        helper.make_node("Conv", ["pixels", "weight"], ["middle"], name="conv", group=8, kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["middle"], ["logits"], name="pool"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("pixels", ["batch", 8, 6, 6]), ("logits", ["batch", 8, 1, 1]))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], [weight])
    path = tmp_path / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    found = {
        node.operator: node for node in profile(path, {"pixels": np.ones((2, 8, 6, 6), np.float32)}, runs=4, threads=1)
    }
    assert {"Conv, depthwise", "GlobalAveragePool"} <= set(found)
    assert all(len(node.microseconds) == 4 for node in found.values())
    assert {found[name].reads for name in ("Conv, depthwise", "GlobalAveragePool")} == {"float"}
    assert list(tmp_path.iterdir()) == [path]
