"""The columns of every CSV file that the pipeline writes and reads: names and types, in order, here alone."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from selectq.errors import UserError, first_line

Number = float | None
"""Of a column: a number, or nothing, which is nan when it is read."""

AGAIN = "run the stage that writes it"
LARGEST_WHOLE = 2**53
"""Up to which a float holds every whole number."""


class Schema:
    """Columns of a CSV file in order, each with its type: str, int, bool, float or `Number`."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def frame(self, rows: Iterable[Any]) -> pd.DataFrame:
        """Rows, as tuples or mappings, with these columns and types; what is missing is nan, or of text empty."""
        table = pd.DataFrame(list(rows), columns=list(self.columns))
        texts = [name for name, kind in self.columns.items() if kind is str]
        table = table.assign(**{name: table[name].astype(object).fillna("") for name in texts})
        return table.astype({name: float if kind is Number else kind for name, kind in self.columns.items()})

    def read(self, path: Path, configs: Collection[str] | None = None) -> pd.DataFrame:
        """The columns of a file; others that it has are left out. `configs` are what its column `config` may hold.

        Raises:
            UserError: the file or a column is missing, a value is not of its column's type, or a name is unknown.
        """
        try:
            text = pd.read_csv(path, dtype=str, na_filter=False)  # a name may be `nan`
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({first_line(error)}); {AGAIN}") from None
        missing = [name for name in self.columns if name not in text]
        if missing:
            raise UserError(f"{path}: column {missing[0]} is missing; {AGAIN}")
        table = pd.DataFrame({name: _typed(text[name], kind, path) for name, kind in self.columns.items()})
        unknown = [] if configs is None else sorted(set(table["config"]) - set(configs))
        if unknown:
            raise UserError(f"{path}: column config holds {', '.join(unknown)}, not in params.yaml; {AGAIN}")
        return table

    def gather(self, folder: Path, ending: str, names: Iterable[str]) -> pd.DataFrame:
        """The files `<name><ending>` of several configurations as one table, in their order; see `read`."""
        tables = [self.read(folder / f"{name}{ending}", [name]) for name in names]
        return pd.concat(tables, ignore_index=True) if tables else self.frame([])


def _typed(text: "pd.Series[str]", kind: Any, path: Path) -> "pd.Series[Any]":
    """A column's values as their type."""
    if kind is str:
        return text
    if kind is bool:
        bad, what = ~text.isin(["True", "False"]), "True or False"
    else:
        numbers = pd.to_numeric(text, errors="coerce")
        bad, what = numbers.isna(), "a number"
        if kind is Number:
            bad &= text != ""
        if kind is int:
            bad, what = bad | (numbers % 1 != 0) | (numbers.abs() > LARGEST_WHOLE), "a whole number"
    if bad.any():
        raise UserError(f"{path}: column {text.name}: {text[bad].iloc[0]!r:.40} is not {what}; {AGAIN}")
    if kind is bool:
        return text == "True"
    return text.replace("", "nan").astype(float).astype(float if kind is Number else kind)


SECONDS = Schema(stage=str, seconds=float, threads=int)
"""That stages took."""
LEARNING = Schema(config=str, epoch=int, split=str, loss=float, top1=float)
DRIFT = Schema(config=str, index=int, layer=str, layer_kind=str, kind=str, drift=float)
CAUSES = Schema(config=str, index=int, layer=str, layer_kind=str, cause=str, drift=float)
CHANNEL_RANGES = Schema(layer=str, channel=int, low=float, high=float)
HISTOGRAMS = Schema(config=str, layer=str, tensor=str, level=int, share=float)
CONFUSION = Schema(config=str, true_class=str, predicted_class=str, images=int, share=float)
OSCILLATION = Schema(config=str, layer=str, layer_kind=str, weights=int, flipped_pct=float, oscillating_pct=float)
OSCILLATION_BY_KIND = Schema(config=str, layer_kind=str, weights=int, flipped_pct=float, oscillating_pct=float)
CALIBRATION = Schema(config=str, granularity=str, estimator=str, images=int, validation_top1=float, test_top1=float)
PAIRS = Schema(
    config=str,
    one=str,
    other=str,
    flipped_pct=float,
    differing_pct=float,
    logit_difference=float,
    one_top1=float,
    other_top1=float,
)
"""Of backends."""
AUDIT = Schema(
    flaw=str,
    setting=str,
    granularity=str,
    images=int,
    classes=int,
    float_top1=float,
    int8_top1=float,
    drift_last=float,
)
AUDIT_LOSSES = Schema(
    flaw=str,
    setting=str,
    images=int,
    float_top1=float,
    tensor_top1=float,
    tensor_drop=float,
    tensor_lost_pct=float,
    tensor_drift_last=float,
    channel_top1=float,
    channel_drop=float,
    channel_lost_pct=float,
    channel_drift_last=float,
    distance=float,
)
PAIRED = Schema(
    config=str,
    reference=str,
    images=int,
    gap_points=float,
    ci_low=float,
    ci_high=float,
    only_config_right=int,
    only_reference_right=int,
    mcnemar_p=float,
    holm_p=float,
    non_inferior=bool,
)
SEEDS = Schema(config=str, seed=int, top1=float, gap_points=float)
METHODS = Schema(config=str, seed_count=int, top1=float, gap_points=float, ci_low=Number, ci_high=Number)
CONTRASTS = Schema(**PAIRED.columns, seed_count=int, seeds_gap_points=float, seeds_ci_low=Number, seeds_ci_high=Number)
TABLE1 = Schema(
    config=str,
    method=str,
    scope=str,
    params_retrained=int,
    params_retrained_pct=float,
    weight_bits=str,
    weight_granularity=str,
    activation_bits=str,
    activation_scheme=str,
    epochs=int,
    paper_method=str,
    paper_params_retrained_pct=Number,
)
TABLE2 = Schema(
    config=str,
    setting=str,
    scope=str,
    params_retrained_pct=Number,
    size_mb=float,
    seed_count=int,
    fp32_top1=float,
    int8_top1=Number,
    gap_points=Number,
    ci_low=Number,
    ci_high=Number,
    mcnemar_p=Number,
    holm_p=Number,
    standard_error_points=float,
    simulated=bool,
    paper_method=str,
    paper_params_retrained_pct=Number,
    paper_size_mb=Number,
    paper_fp32_top1=Number,
    paper_int8_top1=Number,
    paper_gap_points=Number,
    paper_printed_gap_points=Number,
    paper_source=str,
)
"""Accuracies and shares in percent, gaps in points, sizes in 10^6 bytes. `ci_low` to `ci_high` is the paired interval
of the gap, `mcnemar_p` its p value, `holm_p` the same corrected for the number of configurations: all of one network.
`simulated`: the scheme has fewer than 8 bits, and the program holds its integer codes in 8 bits."""
BLOCK_DRIFT = Schema(config=str, index=int, drift=float)
OWN_ERRORS = Schema(config=str, layer=str, layer_kind=str, error=float)
VALIDATION = Schema(
    config=str,
    scope=str,
    weight_bits=str,
    activation_bits=str,
    symmetric=str,
    epochs=str,
    lr=Number,
    validation_top1=float,
)
"""Of a search; the FP32 network's row has its accuracy alone."""
SENSITIVITY = Schema(
    layer=str,
    kind=str,
    depth=float,
    parameters=int,
    macs=int,
    backward_macs=int,
    gain=float,
    gradient=float,
    gradient_times_error=float,
    drift=float,
    causal_gain=float,
)
"""As `selectq.selection.sensitivity` defines them."""
RIGHT = Schema(config=str, image=int, right=int)
"""Which validation images, in the order of the split, a network without training puts into the right class."""
PLAN_RUNGS = Schema(
    treatment=str,
    method=str,
    retrained_pct=float,
    top1=float,
    top1_low=float,
    top1_high=float,
    fp32_top1=float,
    needed_top1=float,
)
PLAN_LAYERS = Schema(layer_kind=str, depth=float, expected_gain=float, layers=int, retrained=int)
BENCHMARK = Schema(case=str, batch=int, threads=int, ours=float, peer_name=str, peer=float, ratio=float)
"""Images per second of the INT8 program and of a peer."""
LATENCY = Schema(machine=str, versions=str, case=str, batch=int, program=str, ms_per_image=float)
PAPER = Schema(
    method=str,
    scope=str,
    weight_bits=str,
    weight_granularity=str,
    activation_bits=str,
    activation_scheme=str,
    params_retrained_pct=Number,
    size_mb=Number,
    top1=float,
    printed_gap_points=Number,
    source=str,
)
"""What the paper prints; the row without a scope is its FP32 baseline."""


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, with their columns as attributes."""
    return table.itertuples(index=False)


def with_written_p(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its p values as text of four significant digits: rounded to decimals, small ones would be 0.

    What is written as 0 is below the smallest float, about 1e-308.
    """
    written = {name: table[name].map("{:.4g}".format, na_action="ignore") for name in ("mcnemar_p", "holm_p")}
    return table.assign(**written)


NETWORKS = Schema(
    network=str,
    parameters=int,
    fp32_mb=float,
    int8_mb=float,
    fp32_top1=float,
    ptq_top1=float,
    ptq_algorithms_top1=float,
    float_nodes=int,
    flipped_pct=float,
    latency_ratio=float,
    qat_ratio=Number,
    epochs=int,
    qat_batch=int,
)
"""Of `make bench-networks`."""
NETWORKS_DRIFT = Schema(network=str, kind=str, nodes=int, isolated=Number, accumulated=float, gain=Number)
