"""`selectq predict`: the class of each image."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selectq.cli.batches import in_batches
from selectq.cli.text import aligned, printable
from selectq.errors import UserError
from selectq.programs.format import Program
from selectq.programs.images import ToPixels, decoded, find_files, read_file
from selectq.programs.program import open_program


@dataclass(frozen=True)
class Prediction:
    """An image's most probable classes with their probabilities in [0, 1], the most probable first."""

    path: Path
    ranked: tuple[tuple[str, float], ...]


ToLines = Callable[[Sequence[Prediction]], list[str]]


def run_predict(
    model: Path, images: Sequence[Path], top: int, to_pixels: ToPixels, *, skip_bad: bool, to_lines: ToLines
) -> None:
    """Print one line for each image; none where an image is refused.

    Args:
        model: a program of any format.
        images: files, and folders of files.
        top: how many classes of each image to name.
        to_pixels: how an image file becomes pixels.
        skip_bad: leave out images that cannot be read, and name them on standard error.
        to_lines: how predictions are written.

    Raises:
        UserError: a model or an image that is not as it should be, or more classes asked for than there are.
    """
    program = open_program(model)
    classes = program.manifest.classes
    if not 1 <= top <= len(classes):
        raise UserError(f"--top: {top} is out of range; allowed: 1 to {len(classes)}, the model's classes")
    files = find_files(images)
    contents = ((path, str(path), partial(read_file, path)) for path in files)
    pixels = decoded(contents, program.manifest.image_size, to_pixels, skip_bad)
    predictions = [
        each for batch in in_batches(pixels, len(files), "predict") for each in _predict(program, batch, top)
    ]
    if not predictions:
        raise UserError(f"{files[0]}: no image is left to predict")
    for line in to_lines(predictions):
        print(line)


def text_lines(predictions: Sequence[Prediction]) -> list[str]:
    """Path, and class and probability of each class named, in columns."""
    rows = []
    for each in predictions:
        named = [cell for name, share in each.ranked for cell in (printable(name), f"{share:.4f}")]
        rows.append([printable(str(each.path)), *named])
    return aligned(rows, left=len(rows[0]))


def json_lines(predictions: Sequence[Prediction]) -> list[str]:
    """One JSON object for each image: `path`, `class`, `probability`, and `top` with all classes named."""
    return [
        json.dumps(
            {
                "path": str(each.path),
                "class": each.ranked[0][0],
                "probability": each.ranked[0][1],
                "top": [{"class": name, "probability": share} for name, share in each.ranked],
            }
        )
        for each in predictions
    ]


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax of each row of (N, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _predict(program: Program, batch: Sequence[tuple[Path, NDArray[np.uint8]]], top: int) -> Iterator[Prediction]:
    classes = program.manifest.classes
    shares = probabilities(program.logits(np.stack([pixels for _, pixels in batch])))
    ranks = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    for (path, _), row, order in zip(batch, shares, ranks, strict=True):
        yield Prediction(path, tuple((classes[index], float(row[index])) for index in order))
