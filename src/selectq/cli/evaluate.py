"""`selectq evaluate`: a program's accuracy on labelled images, as a whole, by class, and what it takes for what."""

from pathlib import Path

import numpy as np

from selectq.cli.batches import in_batches
from selectq.cli.text import aligned, csv_bytes, printable
from selectq.confusion import Confusion, count_confusion
from selectq.deploy.labelled_images import LabelledImages, open_images
from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.intervals import wilson_interval, write_interval
from selectq.programs.format import Program
from selectq.programs.images import to_pixels
from selectq.programs.program import open_program

LISTED_CLASSES = 12
"""How many class names a message lists."""

DEFAULT_FOLDER = Path("evaluation")


def run_evaluate(
    model: Path, data: Path, *, output: Path | None = None, resize: bool = False, skip_bad: bool = False
) -> None:
    """Evaluate a program, write its confusion matrix and accuracy by class, and print the latter.

    Args:
        model (MODEL): an INT8 program: .onnx, .pt2 or .pte
        data (DATA): data/images.safetensors (its test images), or a folder, zip or tar of <class>/<image> or
            test/<class>/<image>
        output (FOLDER): where confusion.csv, per_class.csv and confusion.png go (default: evaluation/<model's file
            name>/)
        resize: bring the shorter side of an image of another size to the model's, and cut out the centre
        skip_bad: leave out images that cannot be read, and name them

    Raises:
        UserError: a model, data or a folder that is not as it should be, or a class that the model does not know.
    """
    program = open_program(model)
    manifest = program.manifest
    images = open_images(data, manifest.image_size, to_pixels(resize), skip_bad)
    _check_classes(data, images.classes, manifest.classes)
    folder = _make_folder(output or DEFAULT_FOLDER / model.name)
    confusion = measure(program, images)
    if not confusion.counts.any():
        raise UserError(f"{data}: none of its {images.count} images can be read")
    summary = _summary(confusion)
    _write(folder, confusion, f"{printable(model.name)} on {printable(data.name)}\n{summary}")
    print(f"{printable(model.name)} on the test images of {printable(str(data))}\n{summary}\n")
    print("\n".join(_table(confusion)))
    print(f"\nconfusion.csv, per_class.csv and confusion.png are in {folder}/")


def measure(program: Program, images: LabelledImages) -> Confusion:
    """Run a program on labelled images of classes that it knows."""
    classes = program.manifest.classes
    label_of = {name: label for label, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for batch in in_batches(images.read(), images.count, "evaluate"):
        true = np.array([label_of[name] for name, _ in batch])
        predicted = program.logits(np.stack([pixels for _, pixels in batch])).argmax(axis=1)
        counts += count_confusion(true, predicted, len(classes))
    return Confusion(classes, counts)


def _check_classes(data: Path, found: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in known]
    if unknown:
        listed = ", ".join(known[:LISTED_CLASSES]) + (", ..." if len(known) > LISTED_CLASSES else "")
        raise UserError(f"{data}: class {unknown[0]!r} is none of the model's {len(known)}: {listed}")


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {folder} is no folder and cannot become one; a file is in its place") from None
    return folder


def _summary(confusion: Confusion) -> str:
    correct, images = int(confusion.correct.sum()), int(confusion.images.sum())
    interval = write_interval(correct, images)
    return f"top-1 {100 * correct / images:.2f} % of {images:,} images (95 % interval {interval})"


def _write(folder: Path, confusion: Confusion, title: str) -> None:
    from selectq.cli.confusion_picture import confusion_png  # noqa: PLC0415  # half a second

    counts = [[name, *row] for name, row in zip(confusion.classes, confusion.counts.tolist(), strict=True)]
    by_class = [["class", "images", "correct", "top1", "low", "high"], *_rows(confusion)]
    write_bytes(folder / "confusion.csv", csv_bytes([["true class", *confusion.classes], *counts]))
    write_bytes(folder / "per_class.csv", csv_bytes(by_class))
    write_bytes(folder / "confusion.png", confusion_png(confusion, title))


def _rows(confusion: Confusion) -> list[tuple[str, int, int, str, str, str]]:
    """Class, images, correct, and top-1 with its interval in per cent; these three are empty without images."""
    rows = []
    for name, images, correct in zip(
        confusion.classes, confusion.images.tolist(), confusion.correct.tolist(), strict=True
    ):
        shares = (correct / images, *wilson_interval(correct, images)) if images else ()
        top1, low, high = [f"{100 * share:.2f}" for share in shares] or ["", "", ""]
        rows.append((name, images, correct, top1, low, high))
    return rows


def _table(confusion: Confusion) -> list[str]:
    cells = [["class", "top-1", "95 % interval", "images"]]
    for name, images, _, top1, low, high in _rows(confusion):
        interval = f"{low} to {high}" if images else "-"
        cells.append([printable(name), f"{top1} %" if images else "-", interval, f"{images:,}"])
    return aligned(cells, left=1)
