"""Tables 1 and 2 for readers: cells with their units, and notes."""

from collections.abc import Sequence
from dataclasses import dataclass

from selectq.params.configs import StatisticsConfig
from selectq.params.configurations import Configuration, shorten_scope, write_algorithms
from selectq.statistics.gaps import ENOUGH_SEEDS
from selectq.tables.cells import NOTHING, Column, Sheet, percent, points, points_within, without_empty_columns
from selectq.tables.evidence import Evidence
from selectq.tables.paper import AUTHORS, TABLE_2
from selectq.tables.tables import Table1Row, Table2Row
from selectq.tables.verdict import Ranking, write_layers

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
    return without_empty_columns(Sheet("Table 1: configurations", columns, tuple(map(_cells1, rows)), TABLE1_NOTES))


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


def sheet2(rows: Sequence[Table2Row], ranking: Ranking, evidence: Evidence, provenance: Provenance) -> Sheet:
    """Table 2: what each configuration achieves; the FP32 network, then the configurations in the ranking's order."""
    images = f"{evidence.fp32.test_images:,}"
    columns = (
        Column("Config", "text"),
        Column("Against FP32", "text"),
        Column("Gap, points", "number"),
        Column("Seeds", "number"),
        Column(f"Top-1 on {images} images", "number"),
        Column("Size", "number"),
        Column("Retrained", "number"),
        Column("What is done", "text"),
        Column("Scheme", "text"),
        Column("Paper top-1", "paper"),
        Column("Paper gap", "paper"),
    )
    by_name = {row.config: row for row in rows}
    shown = [_cells2(by_name[one.name], one, ranking, evidence) for one in ranking.configurations]
    names = [one.name for one in ranking.configurations]
    marked = names.index(ranking.recommended.name) + 1 if ranking.recommended else None
    notes = (
        *_measurement_notes(rows, evidence),
        *_statistics_notes(ranking, provenance.statistics),
        *_provenance_notes(provenance),
        *_paper_notes(rows),
    )
    sheet = Sheet("Table 2: accuracy and size", columns, (_fp32_cells(rows[0]), *shown), notes, marked)
    return without_empty_columns(sheet)


def _fp32_cells(row: Table2Row) -> tuple[str, ...]:
    top1, size = percent(row.fp32_top1, 2), f"{row.size_mb:.2f} MB"
    measured = (NOTHING, NOTHING, str(row.seed_count), top1, size, NOTHING)
    return (row.config, *measured, "the FP32 network", NOTHING, percent(row.paper.fp32_top1, 2), NOTHING)


def _cells2(row: Table2Row, configuration: Configuration, ranking: Ranking, evidence: Evidence) -> tuple[str, ...]:
    gap, name, experiment = ranking.gaps[row.config], row.config, configuration.experiment
    over_seeds = evidence.methods.set_index("config")["top1"][name]
    top1 = percent(over_seeds if gap.seeds > 1 else row.int8_top1, 2)
    recommended = " (recommended)" if configuration is ranking.recommended else ""
    return (
        name,
        f"{ranking.standings[name]}{recommended}",
        points_within(gap.points, gap.low, gap.high),
        str(gap.seeds) if configuration.scope else NOTHING,
        f"{SIMULATED} {top1}" if row.simulated else top1,
        f"{row.size_mb:.2f} MB",
        percent(row.params_retrained_pct, 2),
        _what_is_done(configuration),
        f"W{experiment.weight_bits} {experiment.weight_granularity},"
        f" A{experiment.activation_bits} {experiment.activation_scheme}",
        percent(row.paper.int8_top1, 2),
        points(row.paper.gap_points),
    )


def _what_is_done(configuration: Configuration) -> str:
    algorithms = write_algorithms(configuration.algorithms)
    if not configuration.scope:
        return f"PTQ: {algorithms}" if algorithms else "PTQ"
    return f"QAT: {write_layers(configuration.scope)}" + (f"; before it {algorithms}" if algorithms else "")


def _measurement_notes(rows: Sequence[Table2Row], evidence: Evidence) -> tuple[str, ...]:
    simulated = any(row.simulated for row in rows)
    return (
        f"Top-1: on the {evidence.fp32.test_images:,} test images of {evidence.fp32.data}; that of the INT8 program,"
        " in row fp32 that of the FP32 network; of several seeds the mean.",
        "PTQ: quantized after training. QAT: these layers are retrained. Retrained: their share of the parameters."
        " Size: the file on disk, 1 MB = 1,000,000 bytes. Scheme: bits of weights (W), with one scale per tensor or per"
        " output channel, and of activations (A), with a symmetric or an asymmetric range.",
        *((SIMULATED_NOTE,) if simulated else ()),
    )


SIMULATED_NOTE = (
    f"{SIMULATED} Simulated: fewer than 8 bits. The program holds these integer codes in 8-bit containers, so its"
    " accuracy is that of the scheme, its arithmetic is not. 4-bit weights are stored, and count under Size, as 4 bits."
)


def _statistics_notes(ranking: Ranking, settings: StatisticsConfig) -> tuple[str, ...]:
    margin = f"{settings.margin_points:g}"
    return (
        f"Gap: INT8 minus FP32 on the same images, with its {100 * settings.confidence:g} % interval: of one seed, over"
        f" the choice of the test images; of {ENOUGH_SEEDS} seeds or more, over both.",
        f"Keeps up: the interval lies above −{margin} points; falls short: below; unclear: on both sides."
        " Those that keep up come first, the cheapest first: no training, few PTQ algorithms, few parameters.",
    )


def _provenance_notes(provenance: Provenance) -> tuple[str, ...]:
    skew = provenance.range_skew
    rescaled = (
        f" The FP32 network's channels were rescaled, its function unchanged (range_skew {skew:g})." if skew else ""
    )
    return (f"Seed {provenance.seed}, setting {provenance.regime}.{rescaled}",)


def _paper_notes(rows: Sequence[Table2Row]) -> tuple[str, ...]:
    if rows[0].paper.source is None:
        return ()
    elsewhere = [f"{row.config}'s from {row.paper.source}" for row in rows if row.paper.source not in (None, TABLE_2)]
    printed = [
        f"{points(row.paper.printed_gap_points)} for {row.config}"
        for row in rows
        if row.paper.printed_gap_points is not None
    ]
    accuracies = "; ".join([f"Paper top-1: {AUTHORS}, {TABLE_2}", *elsewhere])
    gaps = f"; it prints {' and '.join(printed)}" if printed else ""
    return (f"{accuracies}. Paper gap: the difference of these accuracies{gaps}.",)
