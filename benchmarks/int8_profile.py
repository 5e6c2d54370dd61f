"""Where the time of an ONNX file goes, operator by operator."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

import pandas as pd

from selectq.latency.operators import NodeTimes

COLUMNS = ["model", "batch", "operator", "nodes", "microseconds", "share_pct"]


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one kind of operator, and the time of one inference that they take together."""

    operator: str
    nodes: int
    microseconds: float


def operator_times(nodes: list[NodeTimes]) -> list[OperatorTime]:
    """The slowest operators first: sum over the nodes of a kind, median over the runs."""
    kinds = defaultdict(list)
    for node in nodes:
        kinds[node.operator].append(node.microseconds)
    sums = [OperatorTime(kind, len(rows), median(map(sum, zip(*rows, strict=True)))) for kind, rows in kinds.items()]
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
