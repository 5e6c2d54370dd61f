"""`selectq predict`: the class of each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selectq.cli.batches import in_batches
from selectq.cli.text import aligned, printable
from selectq.errors import UserError
from selectq.programs.format import Program
from selectq.programs.images import decoded, find_files, read_file, to_pixels
from selectq.programs.program import open_program


@dataclass(frozen=True)
class Prediction:
    """An image's most probable classes with their probabilities in [0, 1], the most probable first."""

    path: Path
    ranked: tuple[tuple[str, float], ...]


def run_predict(
    model: Path,
    images: Sequence[Path],
    *,
    top: int = 1,
    resize: bool = False,
    skip_bad: bool = False,
    json: bool = False,
) -> None:
    """Print one line for each image; none where an image is refused.

    Args:
        model (MODEL): an INT8 program: .onnx, .pt2 or .pte
        images (IMAGE): image files, or folders of them
        top (K): name the K most probable classes (default 1)
        resize: bring the shorter side of an image of another size to the model's, and cut out the centre
        skip_bad: leave out images that cannot be read, and name them
        json: print one JSON object for each image, on its own line

    Raises:
        UserError: a model or an image that is not as it should be, or more classes asked for than there are.
    """
    program = open_program(model)
    classes = program.manifest.classes
    if not 1 <= top <= len(classes):
        raise UserError(f"--top: {top} is out of range; allowed: 1 to {len(classes)}, the model's classes")
    files = find_files(images)
    contents = ((path, str(path), partial(read_file, path)) for path in files)
    pixels = decoded(contents, program.manifest.image_size, to_pixels(resize), skip_bad)
    predictions = [
        each for batch in in_batches(pixels, len(files), "predict") for each in _predict(program, batch, top)
    ]
    if not predictions:
        raise UserError(f"{files[0]}: no image is left to predict")
    for line in (json_lines if json else text_lines)(predictions):
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
        dumps(
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
