"""The card beside a program: what an engineer must know to run it, on half a page of Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selectq.deploy.outcome import Accuracy, Costs, accuracy_text, processor_notes
from selectq.files import METADATA_KEY, sha256
from selectq.latency.measure import Latency
from selectq.programs.manifest import OUTPUT, Manifest
from selectq.programs.program import find
from selectq.report.card import classes_bullet
from selectq.report.formatting import megabytes, number_columns, text_columns
from selectq.report.markdown import bullet, code, markdown_table, prose


@dataclass(frozen=True)
class Card:
    """All that a card says.

    Attributes:
        network: the FP32 network's name, with arguments.
        normalization: mean and standard deviation, in words.
        recipe: widths, and how the network came to them, in words.
        flipped: predictions of the program that are not those of the simulation.
        notes: what the accuracy does not show.
    """

    path: Path
    manifest: Manifest
    network: str
    weights_sha256: str
    normalization: str
    recipe: str
    accuracy: Accuracy
    costs: Costs
    flipped: int
    notes: Sequence[str]


def float_parts(path: Path) -> str:
    """What a program computes in floating point, in words."""
    form = find(path.suffix[1:])
    counted = form.operators(path)
    if counted is None:
        return form.in_float or f"{form.runtime} does not tell"
    return ", ".join(f"{count} {name}" for name, count in counted[1].items()) or "none"


def render_card(card: Card) -> str:
    """The card as Markdown."""
    size, manifest = card.manifest.image_size, card.manifest
    runs = find(card.path.suffix[1:]).lines(card.path.name, manifest)
    inputs = manifest.input_line(f"normalization ({card.normalization})")
    lines = [
        f"# {card.path.name}",
        "",
        *prose(f"{card.network}, quantized to {card.recipe}. Verdict: {card.accuracy.verdict_text()}."),
        "",
        *bullet(f"{inputs} Images of another size: the shorter side brought to {size}, the centre cut out."),
        *bullet(f"Output `{OUTPUT['name']}`: {OUTPUT['dtype']}, (batch, {len(manifest.classes)}), before softmax."),
        *classes_bullet(manifest.classes, f"`classes` of the file's metadata `{METADATA_KEY}`"),
        *bullet(f"In floating point: {float_parts(card.path)}."),
        *bullet(f"Needs {manifest.runtime}."),
        *bullet(f"sha256 `{sha256(card.path)}`, made of weights with sha256 `{card.weights_sha256}`."),
        "",
        *markdown_table((*text_columns(""), *number_columns("FP32", "INT8")), comparison(card.accuracy, card.costs)),
        "",
        *prose(_evidence(card)),
        "",
        *(line for language, lines in runs.items() for line in (*code(language, lines), "")),
    ]
    return "\n".join(lines)


def comparison(accuracy: Accuracy, costs: Costs) -> list[tuple[str, str, str]]:
    """Rows of what was measured: its name, of FP32, of INT8."""
    (fp32, fp32_interval), (int8, int8_interval) = accuracy_text(accuracy.fp32), accuracy_text(accuracy.int8)
    runtimes = costs.fp32.runtime.name, costs.int8.runtime.name
    return [
        (f"top-1 of {len(accuracy.fp32):,} images", fp32, int8),
        ("95 % interval", fp32_interval, int8_interval),
        ("file", megabytes(costs.fp32_bytes), megabytes(costs.int8_bytes)),
        ("one image, one thread", milliseconds(costs.fp32), milliseconds(costs.int8)),
        *([("in", *runtimes)] if len(set(runtimes)) > 1 else []),
    ]


def milliseconds(measured: Latency) -> str:
    """The median inference."""
    return f"{measured.milliseconds[1]:.3f} ms"


def gap_text(accuracy: Accuracy) -> str:
    """INT8 less FP32, with its interval."""
    gap = accuracy.gap
    return f"{gap.points:+.2f} points [{gap.low:+.2f}, {gap.high:+.2f}]"


def _evidence(card: Card) -> str:
    images = len(card.accuracy.fp32)
    notes = "".join(f" Mind: {note}." for note in (*card.notes, *processor_notes()))
    return (
        f"Gap: {gap_text(card.accuracy)}, on the same {images:,} images (95 % interval). Predictions that differ"
        f" between simulation and program: {card.flipped:,} of these. Latency: in {card.costs.int8.runtime.name}, where"
        f" this card was made.{notes}"
    )
