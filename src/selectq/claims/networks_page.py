"""`docs/networks.md`: the text of `networks.md` beside this file, with what `make bench-networks` measured."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from selectq.graph.nodes import Operation
from selectq.report.formatting import NOTHING, Column, percent
from selectq.report.markdown import bullet, markdown_table, rewrapped
from selectq.statistics.schemas import NETWORKS, NETWORKS_DRIFT

TEXT = Path(__file__).with_name("networks.md")

LEARNED = 50
"""Percent of the test images that a network which has learned tells apart, at least."""

COMPARED = ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18")

MEASURED_COLUMNS = (
    Column("Network", "text", lambda row: f"`{row.network}`"),
    Column("Parameters", "number", lambda row: f"{row.parameters / 1e6:.2f} M"),
    Column("FP32", "number", lambda row: f"{row.fp32_mb:.2f} MB"),
    Column("INT8", "number", lambda row: f"{row.int8_mb:.2f} MB"),
    Column("FP32 top-1", "number", lambda row: percent(row.fp32_top1, 2)),
    Column("PTQ", "number", lambda row: percent(row.ptq_top1, 2)),
    Column("With algorithms", "number", lambda row: percent(row.ptq_algorithms_top1, 2)),
    Column("Float", "number", lambda row: str(row.float_nodes)),
    Column("Flipped", "number", lambda row: f"{row.flipped_pct:g} %"),
    Column("Latency", "number", lambda row: f"{row.latency_ratio:.2f}"),
    Column("QAT step", "number", lambda row: _ratio(row.qat_ratio)),
)
DRIFT_COLUMNS = (
    Column("Network", "text", lambda row: f"`{row.network}`"),
    Column("Kind", "text", lambda row: row.kind),
    Column("Nodes", "number", lambda row: str(row.nodes)),
    Column("Alone", "number", lambda row: percent(100 * row.isolated, 2)),
    Column("In all", "number", lambda row: percent(100 * row.accumulated, 2)),
    Column("Gain", "number", lambda row: _ratio(row.gain)),
)


def networks_page(checkout: Path) -> str:
    """The page, from the tables in `results/`.

    Raises:
        UserError: one is missing or damaged.
    """
    measured = NETWORKS.read(checkout / "results/networks.csv")
    drift = NETWORKS_DRIFT.read(checkout / "results/networks_drift.csv")
    compared = drift[drift["network"].isin(COMPARED)]
    parts = {
        "table": _table(MEASURED_COLUMNS, measured),
        "drift": _table(DRIFT_COLUMNS, compared),
        "findings": [line for name, table in compared.groupby("network", sort=False) for line in _finding(name, table)],
        "unlearned": [line for row in measured.to_dict("records") for line in _unlearned(row)],
        "operations": [line for operation in get_args(Operation) for line in bullet(_operation(operation))],
    }
    text = {name: "\n".join(lines) for name, lines in parts.items()}
    figures = {name: " or ".join(map(str, measured[name].unique())) for name in ("epochs", "qat_batch")}
    return rewrapped(TEXT.read_text(encoding="utf-8").format(**text, **figures))


def _table(columns: tuple[Column, ...], table: pd.DataFrame) -> list[str]:
    return markdown_table(columns, [[column.cell(row) for column in columns] for row in table.itertuples()])


def _ratio(value: float) -> str:
    return NOTHING if pd.isna(value) else f"{value:.2f}"


def _finding(name: Any, table: pd.DataFrame) -> list[str]:
    """In which kinds most error starts, and what the products of squeeze-excite do to the error that they read."""
    alone: dict[Any, float] = table.set_index("kind")["isolated"].to_dict()
    most = sorted((kind for kind in alone if not math.isnan(alone[kind])), key=lambda kind: -alone[kind])[:3]
    ranked = ", ".join(f"{kind} ({percent(100 * alone[kind], 2)})" for kind in most)
    sentence = f"**`{name}`**: most error starts in {ranked}."
    if "squeeze_excite" in alone:
        gain, own = table.set_index("kind")["gain"].to_dict()["product"], percent(100 * alone["squeeze_excite"], 2)
        sentence += (
            f" Squeeze-excite {'softens' if gain < 1 else 'adds to'} the error: after its product the drift is"
            f" {gain:.2f} times that before it; its own layers add {own}."
        )
    return bullet(sentence)


def _unlearned(row: Mapping[Any, Any]) -> list[str]:
    if row["fp32_top1"] >= LEARNED:
        return []
    return bullet(
        f"**`{row['network']}`** has not learned ({percent(row['fp32_top1'], 2)}): its accuracies say nothing."
    )


def _operation(operation: type) -> str:
    described = " ".join((operation.__doc__ or "").partition("\n\n")[0].split())
    return f"`{operation.__name__}`: {described[0].lower()}{described[1:]}"
