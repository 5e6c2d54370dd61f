"""What the tables and metrics hold, as rows to plot."""

from collections.abc import Sequence

import pandas as pd

from selectq.tables.tables import Table2Row, to_frame

COLUMNS = ["config", "params_retrained_pct", "int8_top1", "fp32_top1", "standard_error_points"]


def accuracy_points(rows: Sequence[Table2Row]) -> pd.DataFrame:
    """One row for each INT8 program of Table 2, with the FP32 accuracy beside it."""
    return to_frame(rows)[COLUMNS].dropna(subset="int8_top1")


def causes_by_kind(causes: pd.DataFrame) -> pd.DataFrame:
    """Columns config, layer_kind, cause, drift: the root mean square over the layers of a kind, without the totals."""
    single = causes[causes["cause"] != "total"]
    squares = single.assign(drift=single["drift"] ** 2)
    means = squares.groupby(["config", "layer_kind", "cause"], sort=False, as_index=False)["drift"].mean()
    return means.assign(drift=means["drift"] ** 0.5)
