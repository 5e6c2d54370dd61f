"""The tables of the statistics as files: their columns, in order, and how p values are written."""

import pandas as pd

PAIRED_COLUMNS = {
    "config": str,
    "reference": str,
    "images": int,
    "gap_points": float,
    "ci_low": float,
    "ci_high": float,
    "only_config_right": int,
    "only_reference_right": int,
    "mcnemar_p": float,
    "holm_p": float,
    "non_inferior": bool,
}
SEED_COLUMNS = {"config": str, "seed": int, "top1": float, "gap_points": float}
METHOD_COLUMNS = {
    "config": str,
    "seed_count": int,
    "top1": float,
    "gap_points": float,
    "ci_low": float,
    "ci_high": float,
}
CONTRAST_COLUMNS = {
    **PAIRED_COLUMNS,
    "seed_count": int,
    "seeds_gap_points": float,
    "seeds_ci_low": float,
    "seeds_ci_high": float,
}
P_COLUMNS = ["mcnemar_p", "holm_p"]


def with_written_p(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its p values as text of four significant digits: rounded to decimals, small ones would be 0.

    What is written as 0 is below the smallest float, about 1e-308.
    """
    written = {column: table[column].map("{:.4g}".format, na_action="ignore") for column in P_COLUMNS}
    return table.assign(**written)
