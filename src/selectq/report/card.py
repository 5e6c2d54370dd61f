"""The model card: what an engineer must know of one model to run it, on a page of Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from selectq.config.configs import PtqConfig
from selectq.files import METADATA_KEY
from selectq.intervals import write_interval
from selectq.programs.manifest import EXACT_PRODUCTS, OUTPUT, Manifest
from selectq.programs.program import find
from selectq.programs.snippets import onnx_lines
from selectq.report.evidence import ProgramEvidence
from selectq.report.formatting import Table, megabytes, number_columns, percent, points, text_columns
from selectq.report.latency import Latency, write_latencies
from selectq.report.markdown import bullet, code, markdown_table, prose
from selectq.report.model_files import ModelFile, write_files
from selectq.report.recipe import Recipe, write_recipe
from selectq.report.report_tables import BYTE_COLUMNS, backend_accuracies, backend_meaning, cpu_notes, worst_flips

MOST_CLASSES = 100
"""That are listed: with more it would not stay one page."""

KNOWN_DATA = {
    "imagefolder cifar10-jpeg": " These are a JPEG copy of CIFAR-10 (quality 75), not the official images.",
}
"""What the name of some data does not say."""


@dataclass(frozen=True)
class Card:
    """All that a model card says of a program.

    Its backends were compared on `parity_images` test images; `latencies` are of programs like it.
    """

    manifest: Manifest
    files: tuple[ModelFile, ...]
    recipe: Recipe
    evidence: ProgramEvidence
    parity_images: int
    latencies: tuple[Latency, ...]


def render_card(card: Card) -> str:
    """The card; the same text for the same content."""
    size = card.manifest.image_size
    title = f"{card.manifest.name}: {card.recipe.model.title} {card.recipe.scheme}, {size} × {size} pixels"
    lines = [f"# {title}", "", *prose(_summary(card))]
    for heading, section in SECTIONS.items():
        lines += ["", f"## {heading}", "", *section(card)]
    return "\n".join([*lines, ""])


def _summary(card: Card) -> str:
    int8, fp32 = card.evidence.int8, card.evidence.fp32
    gap = round(int8.test_top1 - fp32.test_top1, 2)
    taken = "raw pixels" if card.manifest.input.dtype == "uint8" else "normalised pixels"
    compared = f"{abs(gap):.2f} points {'more' if gap > 0 else 'less'} than" if gap else "the same as"
    return (
        f"{card.recipe.model.title} with {len(card.manifest.classes):,} classes as a quantized program of"
        f" {megabytes(int8.size_bytes)} that takes {taken}, and puts {percent(int8.test_top1, 2)} of"
        f" {int8.test_images:,} test images into the right class"
        f"{'' if int8.integer_arithmetic else ' (simulated: see Limits)'}, {compared} its FP32 model of"
        f" {megabytes(fp32.size_bytes)}."
    )


def _files(card: Card) -> list[str]:
    return write_files(card.files, card.manifest, card.evidence.parity.environment.versions)


def _interface(card: Card) -> list[str]:
    size, classes = card.manifest.image_size, card.manifest.classes
    where = f'json.loads(session.get_modelmeta().custom_metadata_map["{METADATA_KEY}"])["classes"]'
    return [
        *bullet(card.manifest.input_line("scaling")),
        *bullet(
            f"Images of another size: bring the shorter side to {size} pixels, antialiased, and cut out the centre, as"
            " the lines above do."
        ),
        *bullet(f"Output `{OUTPUT['name']}`: {OUTPUT['dtype']}, (batch, {len(classes)}), before softmax."),
        *classes_bullet(classes, f"{len(classes):,}, in the ONNX file: `{where}`"),
    ]


def classes_bullet(classes: Sequence[str], otherwise: str) -> list[str]:
    """The classes with their numbers, or where they are found if they are many."""
    listed = ", ".join(f"{number}={name}" for number, name in enumerate(classes))
    return bullet(
        f"Classes, in the order of the logits: {otherwise if len(classes) > MOST_CLASSES else f'`{listed}`'}."
    )


def _accuracy(card: Card) -> list[str]:
    int8, fp32 = card.evidence.int8, card.evidence.fp32
    columns = (*text_columns("Network"), *number_columns("Top-1", "95 % interval", "Right"))
    fp32_correct = round(fp32.test_top1 * fp32.test_images / 100)
    rows = [
        (network, percent(top1, 2), f"{write_interval(correct, images)} %", f"{correct:,} of {images:,}")
        for network, top1, correct, images in (
            ("this program", int8.test_top1, int8.correct, int8.test_images),
            ("FP32 model", fp32.test_top1, fp32_correct, fp32.test_images),
        )
    ]
    return [
        *markdown_table(columns, rows),
        "",
        *prose(
            f"Gap: {points(int8.test_top1 - fp32.test_top1)} points, program minus FP32 model, both on the test images"
            f" of `{fp32.data}`. The intervals (Wilson's) are for the choice of these images, not for that of the seed."
        ),
        "",
        *_class_accuracies(card.evidence.confusion),
    ]


def _class_accuracies(confusion: pd.DataFrame) -> list[str]:
    """The accuracy of each class that is in the confusions: of many, these are the ones of which most go wrong."""
    rows = [
        (
            str(true),
            percent(100 * float(right["share"].sum()), 2),
            f"{right['images'].sum():,} of {of_class['images'].sum():,}",
        )
        for true, of_class in confusion.groupby("true_class", sort=False)
        for right in [of_class[of_class["predicted_class"] == true]]
    ]
    return markdown_table((*text_columns("Class"), *number_columns("Top-1", "Right")), rows)


def _parity(card: Card) -> list[str]:
    parity, pairs = card.evidence.parity, card.evidence.pairs
    columns = (*text_columns("Backend", "What runs"), *number_columns("Top-1", "Worst flip"))
    flips, differing, largest = worst_flips(pairs), pairs["differing_pct"].max(), pairs["logit_difference"].max()
    rows = [
        (backend, backend_meaning(backend), percent(top1, 2), percent(flips[backend], 2))
        for backend, top1 in backend_accuracies(pairs).items()
    ]
    notes = [
        f"On {card.parity_images:,} of the {card.evidence.int8.test_images:,} test images, evenly spread. Worst flip:"
        " those that the backend which agrees least puts into another class.",
        f"Logits differ beyond float rounding on at most {percent(differing, 2)} of them, by at most {largest:.2g}.",
        f"The largest difference at a layer's output, given the same inputs, in integer steps: {parity.layer_steps:,}.",
        *cpu_notes([parity.cpu]),
    ]
    return [*markdown_table(columns, rows), "", *prose(" ".join(notes))]


def _recipe(card: Card) -> list[str]:
    steps = write_recipe(card.recipe, card.evidence.fp32, card.evidence.simulated)
    again = bullet(f"Made by: `dvc repro card@{card.manifest.name}`, this page included.")
    return [line for heading, step in steps.items() for line in bullet(f"{heading}: {step}.")] + again


def _operators(card: Card) -> list[str]:
    int8 = card.evidence.int8
    counts = ", ".join(f"{count} {name}" for name, count in sorted(int8.operators.items(), key=lambda item: -item[1]))
    pte = (
        " In the .pte file, pooling and classifier compute in float32: XNNPACK has neither an integer average nor an"
        " integer layer with a float result."
    )
    return prose(
        f"ONNX Runtime runs the ONNX file as {counts}. It leaves {int8.float_operators} of these in"
        f" float; the logits leave the last operator as {OUTPUT['dtype']}."
        f"{pte if 'pte' in int8.sizes else ''}"
    )


def _bytes(card: Card) -> list[str]:
    return markdown_table(BYTE_COLUMNS, Table.of("", BYTE_COLUMNS, [card.evidence.int8]).rows)


def _latency(card: Card) -> list[str]:
    return write_latencies(card.latencies if card.evidence.int8.integer_arithmetic else ())


def _seed_limit(recipe: Recipe) -> list[str]:
    """What one training leaves open; nothing where there were more, which the recipe tells."""
    if recipe.further_seeds:
        return []
    trained = "The FP32 model" if isinstance(recipe.config, PtqConfig) else "This model"
    return [f"{trained} was trained from one seed: how far another would differ is not known."]


def _limits(card: Card) -> list[str]:
    fp32, int8, size = card.evidence.fp32, card.evidence.int8, card.manifest.image_size
    limits = [
        f"Measured on {int8.test_images:,} images of `{fp32.data}` alone.{KNOWN_DATA.get(fp32.data, '')} Images of"
        " another source, size or compression can fare worse: test it on yours.",
        *_seed_limit(card.recipe),
        f"For images of {size} × {size} pixels: the program refuses others.",
        "On x86 CPUs without VNNI, ONNX Runtime by default saturates sums of uint8 × int8 products, which changes"
        f" predictions: open the session with `{EXACT_PRODUCTS[0]}` set to {EXACT_PRODUCTS[1]}, as above and as selectq"
        " does. It is slower there, and nothing elsewhere.",
        "No robustness is claimed: not to noise, blur, shifted data or attacks. Every image gets one of the classes.",
    ]
    if "pte" in int8.sizes:
        limits.append(f"The .pte file takes at most {find('pte').largest_batch} images in a batch.")
    if not int8.integer_arithmetic:
        limits.append(
            f"Simulated: {card.recipe.scheme} has fewer than 8 bits, and the program holds these integer codes in 8-bit"
            " containers. Its accuracy is that of the scheme; its arithmetic, speed and memory are not."
        )
    return [line for limit in limits for line in bullet(limit)]


def _other_languages(card: Card) -> list[str]:
    onnx = next(file.path.name for file in card.files if file.format == "onnx")
    _, *others = onnx_lines(onnx, card.manifest).items()
    return [line for language, lines in others for line in (*code(language, lines), "")][:-1]


SECTIONS: dict[str, Callable[[Card], list[str]]] = {
    "Files": _files,
    "Input and output": _interface,
    "Accuracy": _accuracy,
    "Backends": _parity,
    "Recipe": _recipe,
    "Integer operators": _operators,
    "Where the bytes go": _bytes,
    "Latency": _latency,
    "Limits": _limits,
    "C++ and Android": _other_languages,
}
