"""Tables 1 and 2 for readers: cells with their units, and notes."""

from collections.abc import Sequence
from dataclasses import dataclass

from selectq.params.configs import StatisticsConfig
from selectq.tables.cells import NOTHING, Column, Sheet, p_value, percent, points, points_within
from selectq.tables.configurations import shorten_scope
from selectq.tables.evidence import Evidence
from selectq.tables.paper import AUTHORS, TABLE_2
from selectq.tables.tables import Table1Row, Table2Row

SIMULATED = "†"


@dataclass(frozen=True)
class Provenance:
    """What a reader must know of a run beside its numbers; `range_skew` is the sigma of the rescaling, 0 without."""

    seed: int
    regime: str
    range_skew: float
    statistics: StatisticsConfig


def sheet1(rows: Sequence[Table1Row]) -> Sheet:
    """Table 1: what each configuration retrains, and how."""
    columns = (
        Column("Config", "text"),
        Column("Layers retrained", "text"),
        Column("Parameters", "number"),
        Column("Share", "number"),
        Column("Weights", "text"),
        Column("Activations", "text"),
        Column("Epochs", "number"),
        Column("Paper", "paper"),
    )
    return Sheet("Table 1: configurations", columns, tuple(map(_cells1, rows)), TABLE1_NOTES)


TABLE1_NOTES = (
    "Share: of the FP32 network's parameters, counted before batch-norm folding. Paper: the share that it prints.",
    "Every layer is quantized in every configuration; the others keep their FP32 weights.",
    "Weights: one scale per tensor or per output channel, range symmetric about 0. Activations: one scale per tensor.",
)


def _cells1(row: Table1Row) -> tuple[str, ...]:
    return (
        row.config,
        shorten_scope(row.scope),
        f"{row.params_retrained:,}",
        percent(row.params_retrained_pct, 2),
        f"{row.weight_bits} bit, {row.weight_granularity}",
        f"{row.activation_bits} bit, {row.activation_scheme}",
        str(row.epochs),
        percent(row.paper_params_retrained_pct, 1),
    )


def sheet2(rows: Sequence[Table2Row], evidence: Evidence, provenance: Provenance) -> Sheet:
    """Table 2: what each configuration achieves."""
    columns = (
        Column("Config", "text"),
        Column("Layers retrained", "text"),
        Column("Share", "number"),
        Column("Size", "number"),
        Column("Top-1", "number"),
        Column("Gap", "number"),
        Column("p", "number"),
        Column("Paper top-1", "paper"),
        Column("Paper gap", "paper"),
    )
    notes = (
        *_measurement_notes(rows, evidence),
        *_statistics_notes(rows, evidence, provenance.statistics),
        *_provenance_notes(provenance),
        *_paper_notes(rows),
    )
    return Sheet("Table 2: accuracy and size", columns, tuple(map(_cells2, rows)), notes)


def _cells2(row: Table2Row) -> tuple[str, ...]:
    quantized = row.int8_top1 is not None
    top1 = percent(row.int8_top1 if quantized else row.fp32_top1, 2)
    return (
        row.config,
        shorten_scope(row.scope) if row.scope else NOTHING,
        percent(row.params_retrained_pct, 2),
        f"{row.size_mb:.2f} MB",
        f"{SIMULATED} {top1}" if row.simulated else top1,
        points_within(row.gap_points, row.ci_low, row.ci_high),
        p_value(row.holm_p),
        percent(row.paper.int8_top1 if quantized else row.paper.fp32_top1, 2),
        points(row.paper.gap_points),
    )


def _measurement_notes(rows: Sequence[Table2Row], evidence: Evidence) -> tuple[str, ...]:
    errors = [row.standard_error_points for row in rows]
    spread = " to ".join(dict.fromkeys(f"{error:.2f}" for error in (min(errors), max(errors))))
    simulated = any(row.simulated for row in rows)
    return (
        f"Top-1: on the {evidence.fp32.test_images:,} test images of {evidence.fp32.data}; that of the INT8 program,"
        " in row fp32 that of the FP32 network.",
        f"One accuracy has a standard error of {spread} points, √(p(1−p)/n).",
        "Share: the retrained part of the parameters. Size: the file on disk, 1 MB = 1,000,000 bytes.",
        *((SIMULATED_NOTE,) if simulated else ()),
    )


SIMULATED_NOTE = (
    f"{SIMULATED} Simulated: fewer than 8 bits. The program holds these levels in 8-bit containers, so its accuracy is"
    " that of the scheme, its arithmetic is not. 4-bit weights are stored, and counted under Size, as 4 bits."
)


def _statistics_notes(rows: Sequence[Table2Row], evidence: Evidence, settings: StatisticsConfig) -> tuple[str, ...]:
    sure = evidence.paired.query("reference == 'fp32' and non_inferior")["config"]
    named = [row.config for row in rows if row.config in set(sure)]
    confidence = f"{100 * settings.confidence:g} %"
    return (
        f"Gap: INT8 minus FP32, in points, with its {confidence} interval over the choice of the test images (paired"
        " bootstrap). p: exact McNemar test on the same images, corrected for the number of configurations (Holm).",
        f"The interval excludes a loss of {settings.margin_points:g} points or more: {', '.join(named) or 'of none'}.",
        *_seed_notes(rows, evidence, confidence),
    )


def _seed_notes(rows: Sequence[Table2Row], evidence: Evidence, confidence: str) -> tuple[str, ...]:
    repeated = {row.config: row.seed_count for row in rows if row.seed_count > 1}
    methods = evidence.methods.set_index("config")[["gap_points", "ci_low", "ci_high"]]
    over_seeds = [f"{name} {points_within(*methods.loc[name])} ({count})" for name, count in repeated.items()]
    if not over_seeds:
        return ()
    return (f"Mean gap over (so many) seeds, with Student's {confidence} interval: {', '.join(over_seeds)}.",)


def _provenance_notes(provenance: Provenance) -> tuple[str, ...]:
    skew = provenance.range_skew
    rescaled = (
        f" The FP32 network's channels were rescaled, its function unchanged (range_skew {skew:g})." if skew else ""
    )
    return (f"One run, seed {provenance.seed}, regime {provenance.regime}.{rescaled}",)


def _paper_notes(rows: Sequence[Table2Row]) -> tuple[str, ...]:
    elsewhere = [f"{row.config}'s from {row.paper.source}" for row in rows if row.paper.source not in (None, TABLE_2)]
    printed = [
        f"{points(row.paper.printed_gap_points)} for {row.config}"
        for row in rows
        if row.paper.printed_gap_points is not None
    ]
    accuracies = "; ".join([f"Paper top-1: {AUTHORS}, {TABLE_2}", *elsewhere])
    gaps = f"; it prints {' and '.join(printed)}" if printed else ""
    return (f"{accuracies}. Paper gap: the difference of these accuracies{gaps}.",)
