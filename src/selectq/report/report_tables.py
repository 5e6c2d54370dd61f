"""The tables for readers: cells with their units, and notes."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd

from selectq.config.configs import LAYER_KINDS, StatisticsConfig
from selectq.config.configurations import Configuration
from selectq.config.formats import FORMATS
from selectq.report.evidence import CpuMetrics, Evidence, Int8Metrics, ParityMetrics
from selectq.report.formatting import NOTHING, Column, Table, kilobytes, percent, points, points_within
from selectq.report.paper import AUTHORS, TABLE_2
from selectq.report.tables import ALL
from selectq.report.verdict import Ranking, write_layers
from selectq.report.wording import shorten_bits, shorten_scope, write_algorithms
from selectq.statistics.gaps import ENOUGH_SEEDS
from selectq.statistics.schemas import rows_of

SIMULATED = "†"


def configurations_table(table1: pd.DataFrame) -> Table:
    """Table 1: what each configuration retrains, and how."""
    columns = (
        Column("Config", cell=lambda row: row.config),
        Column("Layers retrained", cell=lambda row: shorten_scope(row.scope)),
        Column("Parameters", "number", lambda row: f"{row.params_retrained:,}"),
        Column("Share", "number", lambda row: percent(row.params_retrained_pct, 2)),
        Column("Weights", cell=lambda row: f"{shorten_bits(row.weight_bits)} bit, {row.weight_granularity}"),
        Column("Activations", cell=lambda row: f"{shorten_bits(row.activation_bits)} bit, {row.activation_scheme}"),
        Column("Epochs", "number", lambda row: str(row.epochs)),
        Column("Paper", "paper", lambda row: percent(row.paper_params_retrained_pct, 1)),
    )
    notes = (
        "Share: of the FP32 network's parameters, counted before batch-norm folding. Paper: the share that it prints.",
        "Every layer is quantized in every configuration; the others keep their FP32 weights.",
        "Weights: one scale per tensor or per output channel, range symmetric about 0. Activations: one scale per"
        " tensor.",
    )
    return Table.of("Table 1: configurations", columns, rows_of(table1), notes)


def accuracy_table(
    table2: pd.DataFrame, ranking: Ranking, evidence: Evidence, statistics: StatisticsConfig, provenance: str
) -> Table:
    """Table 2: what each configuration achieves; the FP32 network, then the configurations in the ranking's order."""
    by_name = {one.name: one for one in ranking.configurations}
    mean = evidence.methods.set_index("config")["top1"]

    def quantized(write: Callable[[Any, Configuration], str], fp32: str = NOTHING) -> Callable[[Any], str]:
        """The cell of a configuration, or what stands in the row of the FP32 network."""
        return lambda row: write(row, by_name[row.config]) if row.config in by_name else fp32

    def standing(row: Any, one: Configuration) -> str:
        return ranking.standings[one.name] + (" (recommended)" if one is ranking.recommended else "")

    def gap(row: Any, one: Configuration) -> str:
        found = ranking.gaps[one.name]
        return points_within(found.points, found.low, found.high)

    def top1(row: Any) -> str:
        if row.config not in by_name:
            return percent(row.fp32_top1, 2)
        several = ranking.gaps[row.config].seeds > 1
        return f"{SIMULATED} " * row.simulated + percent(mean[row.config] if several else row.int8_top1, 2)

    def scheme(row: Any, one: Configuration) -> str:
        written = one.experiment
        return (
            f"W{shorten_bits(written.weight_bits)} {written.weight_granularity},"
            f" A{shorten_bits(written.activation_bits)} {written.activation_scheme}"
        )

    def seeds(row: Any, one: Configuration) -> str:
        return str(ranking.gaps[one.name].seeds) if one.scope else NOTHING

    columns = (
        Column("Config", cell=lambda row: row.config),
        Column("Against FP32", cell=quantized(standing)),
        Column("Gap, points", "number", quantized(gap)),
        Column("Seeds", "number", quantized(seeds, "1")),
        Column(f"Top-1 on {evidence.fp32.test_images:,} images", "number", top1),
        Column("Size", "number", lambda row: f"{row.size_mb:.2f} MB"),
        Column("Retrained", "number", lambda row: percent(row.params_retrained_pct, 2)),
        Column("What is done", cell=quantized(lambda row, one: _what_is_done(one), "the FP32 network")),
        Column("Scheme", cell=quantized(scheme)),
        Column(
            "Paper top-1", "paper", lambda row: percent(row.paper_int8_top1 if row.scope else row.paper_fp32_top1, 2)
        ),
        Column("Paper gap", "paper", lambda row: points(row.paper_gap_points)),
    )
    rows = rows_of(table2.set_index("config", drop=False).loc[["fp32", *by_name]])
    notes = (
        *_measurement_notes(table2, evidence),
        *_statistics_notes(statistics),
        provenance,
        *_paper_notes(table2),
    )
    marked = list(by_name).index(ranking.recommended.name) + 1 if ranking.recommended else None
    return Table.of("Table 2: accuracy and size", columns, rows, notes, marked)


def _what_is_done(configuration: Configuration) -> str:
    algorithms = write_algorithms(configuration.algorithms)
    if not configuration.scope:
        return f"PTQ: {algorithms}" if algorithms else "PTQ"
    return f"QAT: {write_layers(configuration.scope)}" + (f"; before it {algorithms}" if algorithms else "")


def _measurement_notes(table2: pd.DataFrame, evidence: Evidence) -> tuple[str, ...]:
    simulated = (
        f"{SIMULATED} Simulated: fewer than 8 bits. The program holds these integer codes in 8-bit containers, so its"
        " accuracy is that of the scheme, its arithmetic is not. 4-bit weights are stored, and count under Size, as 4"
        " bits."
    )
    return (
        f"Top-1: on the {evidence.fp32.test_images:,} test images of {evidence.fp32.data}; that of the INT8 program,"
        " in row fp32 that of the FP32 network; of several seeds the mean.",
        "PTQ: quantized after training. QAT: these layers are retrained. Retrained: their share of the parameters."
        " Size: the file on disk, 1 MB = 1,000,000 bytes. Scheme: bits of weights (W), with one scale per tensor or per"
        " output channel, and of activations (A), with a symmetric or an asymmetric range.",
        *((simulated,) if table2["simulated"].any() else ()),
    )


def _statistics_notes(settings: StatisticsConfig) -> tuple[str, ...]:
    margin = f"{settings.margin_points:g}"
    return (
        f"Gap: INT8 minus FP32 on the same images, with its {100 * settings.confidence:g} % interval: of one seed, over"
        f" the choice of the test images; of {ENOUGH_SEEDS} seeds or more, over both.",
        f"Keeps up: the interval lies above −{margin} points; falls short: below; unclear: on both sides."
        " Those that keep up come first, the cheapest first: no training, few PTQ algorithms, few parameters.",
    )


def provenance_note(seed: int, setting: str, skew: float) -> str:
    """From what the run started."""
    rescaled = (
        f" The FP32 network's channels were rescaled, its function unchanged (range_skew {skew:g})." if skew else ""
    )
    return f"Seed {seed}, setting {setting}.{rescaled}"


def _paper_notes(table2: pd.DataFrame) -> tuple[str, ...]:
    sources = table2.set_index("config")["paper_source"]
    if not sources["fp32"]:
        return ()
    elsewhere = [f"{config}'s from {source}" for config, source in sources.items() if source not in ("", TABLE_2)]
    printed = table2.dropna(subset="paper_printed_gap_points")
    gaps = [f"{points(row.paper_printed_gap_points)} for {row.config}" for row in rows_of(printed)]
    accuracies = "; ".join([f"Paper top-1: {AUTHORS}, {TABLE_2}", *elsewhere])
    prints = f"; it prints {' and '.join(gaps)}" if gaps else ""
    return (f"{accuracies}. Paper gap: the difference of these accuracies{prints}.",)


BACKEND_MEANINGS = {
    "simulation": "the fake-quantized network in PyTorch",
    "reference": "quantize/dequantize operators in PyTorch",
    "torch_export": "the .pt2 file in PyTorch",
    "onnx_plain": "the .onnx file in ONNX Runtime, not optimised",
    "onnx": "the .onnx file in ONNX Runtime, optimised",
    "executorch": "the .pte file in ExecuTorch",
}
"""The backends that are held to the same predictions; a format that is not made leaves its own out."""


def known_backends() -> tuple[str, ...]:
    """Those of BACKEND_MEANINGS, and those of other packages' formats, by their endings."""
    return *BACKEND_MEANINGS, *FORMATS.others()


def backend_meaning(backend: str) -> str:
    """What runs, in words."""
    return BACKEND_MEANINGS.get(backend, f"the .{backend} file in its runtime")


def parity_table(configurations: Sequence[Configuration], evidence: Evidence, images: int) -> Table:
    """How far the backends of each program are apart, and the accuracy of each, on so many test images."""
    accuracies = {each.name: backend_accuracies(evidence.pairs[each.name]) for each in configurations}
    backends = [backend for backend in known_backends() if any(backend in found for found in accuracies.values())]

    def accuracy(backend: str, name: str) -> str:
        return percent(accuracies[name].get(backend), 2)

    columns = (
        Column("Config"),
        Column("Worst flip", "number", lambda name: percent(evidence.parity[name].flipped_pct, 2)),
        Column("Layer steps", "number", lambda name: f"{evidence.parity[name].layer_steps:,}"),
        *(Column(backend, "number", partial(accuracy, backend)) for backend in backends),
    )
    notes = (
        f"Top-1 of each backend on {images:,} of the {evidence.fp32.test_images:,} test images, evenly spread."
        f" {'; '.join(f'{backend}: {backend_meaning(backend)}' for backend in backends)}.",
        "Worst flip: the images that the two backends which agree least put into different classes. Layer steps: the"
        " largest difference at a layer's output, given the same inputs, in integer steps.",
        *cpu_notes(parity.cpu for parity in evidence.parity.values()),
    )
    return Table.of("Parity: the same predictions in every backend", columns, accuracies, notes)


def backend_accuracies(pairs: pd.DataFrame) -> dict[str, float]:
    """The accuracy in percent of each backend that was compared, in order."""
    ones, others = (dict(zip(pairs[side], pairs[f"{side}_top1"], strict=True)) for side in ("one", "other"))
    measured = ones | others
    return {backend: measured[backend] for backend in known_backends() if backend in measured}


def worst_flips(pairs: pd.DataFrame) -> dict[str, float]:
    """The largest share, in percent, of predictions in which each backend differs from another, in order."""
    rows = {backend: pairs[(pairs["one"] == backend) | (pairs["other"] == backend)] for backend in known_backends()}
    return {backend: float(of_backend["flipped_pct"].max()) for backend, of_backend in rows.items() if len(of_backend)}


def cpu_notes(cpus: Iterable[CpuMetrics]) -> list[str]:
    """One sentence for each kind of CPU that was measured on."""
    return [
        f"Measured on a CPU {'with' if cpu.vnni else 'without'} VNNI, where sums of uint8 × int8 products"
        f" {'saturate by default' if cpu.u8s8_saturates else 'do not saturate'}."
        for cpu in dict.fromkeys(cpus)
    ]


BYTE_COLUMNS = (
    Column("Weights", "number", lambda int8: kilobytes(int8.bytes.weights)),
    Column("Biases", "number", lambda int8: kilobytes(int8.bytes.biases)),
    Column("Scales", "number", lambda int8: kilobytes(int8.bytes.scales)),
    Column("Graph", "number", lambda int8: kilobytes(int8.bytes.graph)),
    Column("ONNX file", "number", lambda int8: kilobytes(int8.size_bytes)),
)
"""What the ONNX file of an `Int8Metrics` holds."""


def bytes_table(configurations: Sequence[Configuration], evidence: Evidence) -> Table:
    """What the ONNX file of each program holds, and the sizes of the other formats."""
    programs = [(each.name, evidence.int8[each.name]) for each in configurations]
    others = [name for name in FORMATS.names()[1:] if any(name in int8.sizes for _, int8 in programs)]

    def part(write: Callable[[Int8Metrics], str], row: tuple[str, Int8Metrics]) -> str:
        return write(row[1])

    def size(name: str, row: tuple[str, Int8Metrics]) -> str:
        return kilobytes(row[1].sizes.get(name))

    columns = (
        Column("Config", cell=lambda row: row[0]),
        *(Column(column.heading, "number", partial(part, column.cell)) for column in BYTE_COLUMNS),
        *(Column(f"{name} file", "number", partial(size, name)) for name in others),
    )
    notes = (
        "Weights to graph: the parts of the ONNX file. Scales: zero points too. Graph: all the rest, such as the"
        " operators, their names and the program's description of itself. 1 kB = 1,000 bytes.",
    )
    return Table.of("Where every byte goes", columns, programs, notes)


RUNTIMES = {"python": "Python", "torch": "PyTorch", "onnxruntime": "ONNX Runtime", "executorch": "ExecuTorch"}


def environment_table(configurations: Sequence[Configuration], evidence: Evidence) -> Table:
    """Versions and instruction sets of the measurements, a row for each environment."""
    measured: dict[tuple[str, ...], list[str]] = {}
    for each in configurations:
        measured.setdefault(_environment_cells(evidence.parity[each.name]), []).append(each.name)
    columns = (Column("Measured"), *map(Column, RUNTIMES.values()), Column("Processor"))
    rows = tuple(("all" if len(measured) == 1 else ", ".join(names), *cells) for cells, names in measured.items())
    notes = (
        "Where the programs were measured and compared. Processor: of its instruction sets those that decide how fast,"
        " and on x86 how exactly, products of integers are added.",
        *cpu_notes(parity.cpu for parity in evidence.parity.values()),
    )
    return Table("Environment of the measurements", columns, rows, notes)


def _environment_cells(parity: ParityMetrics) -> tuple[str, ...]:
    found = parity.environment
    processor = ": ".join(filter(None, (found.architecture, ", ".join(found.instructions))))
    return (*(found.versions.get(package, NOTHING) for package in RUNTIMES), processor)


def oscillation_table(by_kind: pd.DataFrame) -> Table:
    """How many weights oscillate in the last epoch: a row for each configuration, a column for each kind of layer."""
    shares = {(row.config, row.layer_kind): row for row in rows_of(by_kind)}
    kinds = [kind for kind in (*LAYER_KINDS, ALL) if kind in set(by_kind["layer_kind"])]

    def cell(kind: str, config: str) -> str:
        row = shares.get((config, kind))
        return f"{percent(row.oscillating_pct, 1)} ({percent(row.flipped_pct, 1)})" if row else NOTHING

    columns = (
        Column("Config"),
        *(Column(kind.capitalize(), "number", partial(cell, kind)) for kind in kinds),
    )
    notes = (
        "In the last epoch of retraining, of the weights that learn: how many change their integer code and later"
        " change it back (in brackets: how many change it at all).",
        "A code changes where the weight moves over a rounding threshold, or the scale, which follows the largest"
        " weight, moves under it. Oscillation: Nagel et al. 2022.",
    )
    title = "Oscillation: weights that jump back and forth between integer codes"
    return Table.of(title, columns, dict.fromkeys(by_kind["config"]), notes)
