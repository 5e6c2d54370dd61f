"""Tables of the programs themselves: the same predictions in every backend, and where every byte goes."""

from collections.abc import Iterable, Sequence

import pandas as pd

from selectq.params.configurations import Configuration
from selectq.tables.cells import NOTHING, Column, Sheet, percent
from selectq.tables.evidence import FORMATS, FORMS, ByteCounts, CpuMetrics, EnvironmentMetrics, Evidence

FORM_MEANINGS = {
    "simulation": "the fake-quantized network in PyTorch",
    "reference": "quantize/dequantize operators in PyTorch",
    "torch_export": "the .pt2 file in PyTorch",
    "onnx_plain": "the .onnx file in ONNX Runtime, not optimised",
    "onnx": "the .onnx file in ONNX Runtime, optimised",
    "executorch": "the .pte file in ExecuTorch",
}


def parity_sheet(configurations: Sequence[Configuration], evidence: Evidence, images: int) -> Sheet:
    """How far the backends of each program are apart, and the accuracy of each, on so many test images."""
    accuracies = {each.name: form_accuracies(evidence.pairs[each.name]) for each in configurations}
    forms = [form for form in FORMS if any(form in found for found in accuracies.values())]
    columns = (
        Column("Config", "text"),
        Column("Worst flip", "number"),
        Column("Layer steps", "number"),
        *(Column(form, "number") for form in forms),
    )
    rows = tuple(
        (
            name,
            percent(evidence.parity[name].flipped_pct, 2),
            f"{evidence.parity[name].layer_steps:,}",
            *(percent(found.get(form), 2) for form in forms),
        )
        for name, found in accuracies.items()
    )
    notes = (
        f"Top-1 of each backend on {images:,} of the {evidence.fp32.test_images:,} test images, evenly spread."
        f" {'; '.join(f'{form}: {FORM_MEANINGS[form]}' for form in forms)}.",
        "Worst flip: the images that the two backends which agree least put into different classes. Layer steps: the"
        " largest difference at a layer's output, given the same inputs, in integer steps.",
        *cpu_notes(parity.cpu for parity in evidence.parity.values()),
    )
    return Sheet("Parity: the same predictions in every backend", columns, rows, notes)


def form_accuracies(pairs: pd.DataFrame) -> dict[str, float]:
    """The accuracy in percent of each form that was compared, in the order of FORMS."""
    ones, others = (dict(zip(pairs[side], pairs[f"{side}_top1"], strict=True)) for side in ("one", "other"))
    measured = ones | others
    return {form: measured[form] for form in FORMS if form in measured}


def worst_flips(pairs: pd.DataFrame) -> dict[str, float]:
    """The largest share, in percent, of predictions in which each form differs from another, in the order of FORMS."""
    rows = {form: pairs[(pairs["one"] == form) | (pairs["other"] == form)] for form in FORMS}
    return {form: float(of_form["flipped_pct"].max()) for form, of_form in rows.items() if len(of_form)}


def cpu_notes(cpus: Iterable[CpuMetrics]) -> list[str]:
    """One sentence for each kind of CPU that was measured on."""
    return [
        f"Measured on a CPU {'with' if cpu.vnni else 'without'} VNNI, where sums of uint8 × int8 products"
        f" {'saturate by default' if cpu.u8s8_saturates else 'do not saturate'}."
        for cpu in dict.fromkeys(cpus)
    ]


def bytes_sheet(configurations: Sequence[Configuration], evidence: Evidence) -> Sheet:
    """What the ONNX file of each program holds, and the sizes of the other formats."""
    metrics = {each.name: evidence.int8[each.name] for each in configurations}
    others = [name for name in FORMATS[1:] if any(name in int8.sizes for int8 in metrics.values())]
    columns = (
        Column("Config", "text"),
        *BYTE_COLUMNS,
        Column("ONNX file", "number"),
        *(Column(f"{name} file", "number") for name in others),
    )
    rows = tuple(
        (
            config,
            *byte_cells(int8.bytes),
            kilobytes(int8.size_bytes),
            *(kilobytes(int8.sizes.get(name)) for name in others),
        )
        for config, int8 in metrics.items()
    )
    notes = (
        "Weights to graph: the parts of the ONNX file. Scales: zero points too. Graph: all the rest, such as the"
        " operators, their names and the program's description of itself. 1 kB = 1,000 bytes.",
    )
    return Sheet("Where every byte goes", columns, rows, notes)


RUNTIMES = {"python": "Python", "torch": "PyTorch", "onnxruntime": "ONNX Runtime", "executorch": "ExecuTorch"}


def environment_sheet(configurations: Sequence[Configuration], evidence: Evidence) -> Sheet:
    """Versions and instruction sets of the measurements, a row for each environment."""
    measured: dict[tuple[str, ...], list[str]] = {}
    for each in configurations:
        measured.setdefault(_environment_cells(evidence.parity[each.name].environment), []).append(each.name)
    columns = (
        Column("Measured", "text"),
        *(Column(runtime, "text") for runtime in RUNTIMES.values()),
        Column("Processor", "text"),
    )
    rows = tuple(("all" if len(measured) == 1 else ", ".join(names), *cells) for cells, names in measured.items())
    notes = (
        "Where the programs were measured and compared. Processor: of its instruction sets those that decide how fast,"
        " and on x86 how exactly, products of integers are added.",
        *cpu_notes(parity.cpu for parity in evidence.parity.values()),
    )
    return Sheet("Environment of the measurements", columns, rows, notes)


def _environment_cells(environment: EnvironmentMetrics) -> tuple[str, ...]:
    processor = ": ".join(filter(None, (environment.architecture, ", ".join(environment.instructions))))
    return (*(environment.versions.get(package, NOTHING) for package in RUNTIMES), processor)


BYTE_COLUMNS = tuple(Column(part, "number") for part in ("Weights", "Biases", "Scales", "Graph"))


def byte_cells(counts: ByteCounts) -> tuple[str, ...]:
    """Cells below BYTE_COLUMNS."""
    return tuple(map(kilobytes, (counts.weights, counts.biases, counts.scales, counts.graph)))


def kilobytes(size_bytes: int | None) -> str:
    """Bytes in units of 1,000, a dash for None."""
    return NOTHING if size_bytes is None else f"{size_bytes / 1000:,.1f} kB"
