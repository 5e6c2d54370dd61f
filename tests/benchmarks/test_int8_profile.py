"""From the profiler's events to the operators' shares."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_profile import COLUMNS, OperatorTime, kernel_times, operator_kind, operator_times, profile, profile_table
from onnx import TensorProto, helper, numpy_helper


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


def test_kernel_times_leave_out_what_is_no_kernel() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "dur": 90},
        {"cat": "Node", "name": "a_fence_before", "dur": 1},
        {"cat": "Node", "name": "a_kernel_time", "dur": 2},
        {"cat": "Node", "name": "b_kernel_time", "dur": 3},
        {"cat": "Node", "name": "a_kernel_time", "dur": 4},
    ]
    assert kernel_times(events) == {"a": [2, 4], "b": [3]}


def test_operator_times_are_medians_of_sums_without_the_burn_in() -> None:
    times = {"a": [90.0, 1.0, 2.0, 9.0], "b": [90.0, 10.0, 30.0, 20.0], "c": [0.0, 50.0, 50.0, 50.0]}
    found = operator_times({"a": "Conv", "b": "Conv", "c": "Add"}, times, burn_in=1)
    assert found == [OperatorTime("Add", 1, 50.0), OperatorTime("Conv", 2, 29.0)]


def test_shares_add_up_for_each_model_and_batch() -> None:
    at_one = [OperatorTime("Conv", 2, 30.0), OperatorTime("Add", 1, 10.0)]
    rows = profile_table({("ours", 1): at_one, ("ours", 64): [OperatorTime("Conv", 2, 7.0)]})
    assert list(rows.columns) == COLUMNS
    assert rows["share_pct"].to_list() == [75.0, 25.0, 100.0]
    assert rows.iloc[1].to_list() == ["ours", 1, "Add", 1, 10.0, 25.0]


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
    found = {entry.operator: entry for entry in profile(path, np.ones((2, 8, 6, 6), np.float32), runs=4)}
    assert {"Conv, depthwise", "GlobalAveragePool"} <= set(found)
    assert all(entry.nodes == 1 and entry.microseconds >= 0 for entry in found.values())
    assert list(tmp_path.iterdir()) == [path]
