"""From nodes' times to the operators' shares."""

from int8_profile import COLUMNS, OperatorTime, operator_times, profile_table

from selectq.latency.operators import NodeTimes


def test_operator_times_are_medians_of_sums() -> None:
    nodes = [
        NodeTimes("a", "Conv", "float", [1.0, 2.0, 9.0]),
        NodeTimes("b", "Conv", "float", [10.0, 30.0, 20.0]),
        NodeTimes("c", "Add", "float", [50.0, 50.0, 50.0]),
    ]
    assert operator_times(nodes) == [OperatorTime("Add", 1, 50.0), OperatorTime("Conv", 2, 29.0)]


def test_shares_add_up_for_each_model_and_batch() -> None:
    at_one = [OperatorTime("Conv", 2, 30.0), OperatorTime("Add", 1, 10.0)]
    rows = profile_table({("ours", 1): at_one, ("ours", 64): [OperatorTime("Conv", 2, 7.0)]})
    assert list(rows.columns) == COLUMNS
    assert rows["share_pct"].to_list() == [75.0, 25.0, 100.0]
    assert rows.iloc[1].to_list() == ["ours", 1, "Add", 1, 10.0, 25.0]
