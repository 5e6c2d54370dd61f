"""The confusion matrix as a picture: the report's chart, of all classes."""

import json
from typing import Any

import numpy as np
import vl_convert

from selectq.cli.text import printable
from selectq.confusion import Confusion
from selectq.report.vega import VEGA_LITE, filled_template

CELL, LARGEST = 28, 1100
"""Pixels of a cell's side, and of the whole matrix's at most; a picture has twice as many."""

SPACED = 50
"""Up to so many classes, there is a gap between cells, and each is named; of more, so many are."""


def confusion_png(confusion: Confusion, title: str) -> bytes:
    """The PNG file of a confusion matrix; the same bytes for the same content."""
    png: bytes = vl_convert.vegalite_to_png(chart(confusion, title), vl_version=VEGA_LITE.removeprefix("v"), scale=2)
    return png


def chart(confusion: Confusion, title: str) -> dict[str, Any]:
    """The matrix in Vega-Lite; only cells with images are drawn."""
    classes = [printable(name) for name in confusion.classes]
    rows = [
        {
            "rev": "workspace",
            "config": "",
            "true_class": classes[true],
            "predicted_class": classes[predicted],
            "images": int(confusion.counts[true, predicted]),
            "share": float(confusion.shares[true, predicted]),
        }
        for true, predicted in np.argwhere(confusion.counts).tolist()
    ]
    spec = filled_template("confusion", json.dumps(rows))
    spec["title"]["text"] = [printable(line) for line in title.split("\n")]
    spec["facet"]["header"] = {"labels": False}
    panel = spec["spec"]
    panel["width"] = panel["height"] = min(CELL * len(classes), LARGEST)
    for side in ("x", "y"):
        panel["encoding"][side]["scale"] = {"domain": classes}
        panel["encoding"][side].setdefault("axis", {})["values"] = classes[:: -(-len(classes) // SPACED)]
    if len(classes) > SPACED:
        panel["layer"][0]["mark"]["strokeWidth"] = 0
    return spec
