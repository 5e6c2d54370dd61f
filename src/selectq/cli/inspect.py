"""`selectq inspect`: what a program is, layer by layer and byte by byte."""

from dataclasses import astuple, fields
from pathlib import Path

from selectq.cli.text import NO_BREAK, aligned, csv_bytes, printable, wrapped
from selectq.config.configs import ActivationScheme, write_bits
from selectq.files import require_writable, write_bytes
from selectq.programs.format import Format
from selectq.programs.manifest import INPUT_NAME, OUTPUT, LayerEntry, Manifest
from selectq.programs.program import format_of
from selectq.report.wording import shorten_bits

BYTES_OF = {
    "weights": "weights",
    "biases": "biases",
    "scales": "scales and zero points",
    "graph": "graph and description",
}

COLUMNS = ("layer", "kind", "weight", "fused", "bits", "scales", "scale", "zero")


def run_inspect(model: Path, *, layers_csv: Path | None = None) -> None:
    """Print what a program is, its layers, where its bytes go and, where that is known, how the runtime computes it.

    Args:
        model (MODEL): an INT8 program: .onnx, .pt2 or .pte
        layers_csv (FILE): write the table of the layers as CSV too

    Raises:
        UserError: a model that is not as it should be, or `layers_csv` cannot be a file.
    """
    form = format_of(model)
    manifest = form.open(model).manifest
    if layers_csv:
        require_writable("--layers-csv", layers_csv)
        write_bytes(layers_csv, _layers_csv(manifest))
    print("\n".join([*_description(model, form, manifest), "", *_layer_table(manifest), "", *_size_table(model, form)]))
    if operators := form.operators(model):
        print("\n".join(["", *operator_lines(form.runtime, *operators)]))


def operator_lines(runtime: str, integer: dict[str, int], floating: dict[str, int]) -> list[str]:
    """How much of a graph, given as counts of its operators by name, works on integers."""
    count = sum(integer.values()) + sum(floating.values())
    return [
        f"{runtime} runs it as {count} operators, optimised for this machine",
        *wrapped("  ", f"{sum(integer.values())} of them integer: {_listed(integer)}"),
        *wrapped("  ", f"these stay float: {_listed(floating)}"),
    ]


def _description(model: Path, form: Format, manifest: Manifest) -> list[str]:
    weights, activations = manifest.weights, manifest.activations
    of_weights, of_activations = (shorten_bits(write_bits(each["bits"])) for each in (weights, activations))
    count = len(manifest.classes)
    scales = {"channel": "one scale per output channel", "tensor": "one scale per tensor"}[weights["granularity"]]
    ranges = ActivationScheme(**activations).range
    rows = [
        ["file", printable(str(model))],
        ["format", form.title],
        ["runs in", printable(manifest.runtime)],
        ["configuration", printable(manifest.name)],
        ["classes", f"{count}: {', '.join(map(printable, manifest.classes))}"],
        ["input", f"{INPUT_NAME}: {manifest.input.dtype} {manifest.input.text(manifest.image_size)}"],
        ["preprocessing", manifest.input.preprocessing],
        ["output", f"{OUTPUT['name']}: {OUTPUT['dtype']} (batch, {count}), {OUTPUT['layout']}"],
        ["weights", f"{of_weights} bits, symmetric, {scales}"],
        ["activations", f"{of_activations} bits, unsigned, one scale per tensor, {ranges}"],
    ]
    return [line for label, text in rows for line in wrapped(f"{label:<15}", text)]


def _layer_table(manifest: Manifest) -> list[str]:
    rows = [
        [
            layer.name,
            layer.kind,
            _shape(layer),
            layer.activation,
            str(layer.weight_bits),
            str(layer.weight_scales),
            "float" if layer.output_scale is None else f"{layer.output_scale:.4g}",
            "" if layer.output_zero_point is None else str(layer.output_zero_point),
        ]
        for layer in manifest.layers
    ]
    heading = "Layers: bits and scales of the weights, scale and zero point of the output"
    return [heading, *aligned([COLUMNS, *rows], left=4, gap=" ")]


def _size_table(model: Path, form: Format) -> list[str]:
    counts = form.byte_counts(model)
    total = sum(counts.values())
    assert total == model.stat().st_size
    rows = [[f"  {BYTES_OF[part]}", f"{size:,} bytes", f"{100 * size / total:.1f} %"] for part, size in counts.items()]
    table = aligned([["Size of the file", f"{total:,} bytes", "100.0 %"], *rows], left=1)
    return [*table, *(wrapped("  ", form.size_note) if form.size_note else ())]


def _layers_csv(manifest: Manifest) -> bytes:
    _, *others = (field.name for field in fields(LayerEntry))
    rows = [[layer.name, layer.kind, _shape(layer), *astuple(layer)[3:]] for layer in manifest.layers]
    return csv_bytes([["layer", *others], *rows])


def _shape(layer: LayerEntry) -> str:
    return "x".join(map(str, layer.weight_shape))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count}{NO_BREAK}{name}" for name, count in counts.items()) or "none"
