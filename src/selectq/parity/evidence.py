"""Metrics of a configuration's programs: accuracy, size, operators, parity, confusion."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selectq.config.configs import widths
from selectq.confusion import Confusion
from selectq.export.onnx import ONNX
from selectq.parity.environment import describe_environment
from selectq.programs.saturation import describe_cpu
from selectq.quantization.quantized import Scheme

SHIPPED = "onnx"
"""The backend whose accuracy is reported."""

MOST_CLASSES = 20
"""Classes of a confusion matrix: 1,000 would be a million rows."""

OTHER_CLASSES = "other classes"
CONFUSION_COLUMNS = ["config", "true_class", "predicted_class", "images", "share"]


def program_metrics(
    folder: Path, scheme: Scheme, logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Accuracy, sizes in bytes and operators of the ONNX program.

    Args:
        folder: of the configuration's program files.
        scheme: of its weights and activations.
        logits: of the program, (N, classes).
        labels: (N,).
    """
    (program,) = folder.glob("*.onnx")
    correct = int((logits.argmax(1) == labels).sum())
    integer, floating = ONNX.operators(program)
    narrowest = min(*widths(scheme.weights.bits), *widths(scheme.activations.bits))
    return {
        "test_top1": round(100 * correct / len(labels), 4),
        "test_images": len(labels),
        "correct": correct,
        "size_bytes": program.stat().st_size,
        "sizes": {path.suffix.removeprefix("."): path.stat().st_size for path in sorted(folder.iterdir())},
        "bytes": ONNX.byte_counts(program),
        "operators": {**integer, **floating},
        "float_operators": sum(floating.values()),
        "weight_bits": scheme.weights.bits,
        "activation_bits": scheme.activations.bits,
        "integer_arithmetic": narrowest == 8,
    }


def parity_metrics(pairs: pd.DataFrame, layers: pd.DataFrame) -> dict[str, Any]:
    """The worst of `compare_pairs` and `compare_layers`, and the processor that it was found on."""
    return {
        "flipped_pct": round(pairs["flipped_pct"].max(), 4),
        "differing_pct": round(pairs["differing_pct"].max(), 4),
        "layer_steps": int(layers["steps"].max()),
        "pairs": len(pairs),
        "cpu": describe_cpu(),
        "environment": describe_environment(),
    }


def confusion_metrics(name: str, confusion: Confusion) -> pd.DataFrame:
    """The confusion matrix, in at most `MOST_CLASSES * (MOST_CLASSES + 1)` rows.

    Of more than `MOST_CLASSES` classes, those of which most images go wrong are kept; what of these is predicted as a
    class that is not kept is counted under `OTHER_CLASSES`. A class without images has no rows.

    Returns:
        Columns config, true_class, predicted_class, images, share (of the true class's images, in [0, 1]).
    """
    wrong = confusion.images - confusion.correct
    kept = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    counts, images = confusion.counts[np.ix_(kept, kept)], confusion.images[kept]
    names = [_utf8(confusion.classes[index]) for index in kept]
    predicted = names
    if len(kept) < len(confusion.classes):
        predicted, counts = [*names, OTHER_CLASSES], np.column_stack([counts, images - counts.sum(axis=1)])
    rows = [
        (name, true, found, count, count / total)
        for true, row, total in zip(names, counts.tolist(), images.tolist(), strict=True)
        for found, count in zip(predicted, row, strict=True)
        if total
    ]
    return pd.DataFrame(rows, columns=CONFUSION_COLUMNS)


def _utf8(name: str) -> str:
    """A class is called as its folder, which may hold bytes that are no UTF-8."""
    return name.encode(errors="backslashreplace").decode()
