"""The same image twice: in two splits it makes an accuracy look better than it is, in two classes a label is wrong."""

from collections.abc import Iterable
from typing import NamedTuple

LISTED = 3


class Placed(NamedTuple):
    """An image's digest, where it stands, and what it is called."""

    digest: bytes
    split: str
    label: int
    name: str


def describe_duplicates(images: Iterable[Placed]) -> list[str]:
    """A line for what is in two splits and one for what is in two classes, with the first examples; none if nothing."""
    first: dict[bytes, Placed] = {}
    found: dict[str, list[str]] = {"split": [], "class": []}
    for image in images:
        known = first.setdefault(image.digest, image)
        pair = f"{known.name} and {image.name}"
        if known.split != image.split:
            found["split"].append(f"{pair} ({known.split}, {image.split})")
        if known.label != image.label:
            found["class"].append(pair)
    return [
        f"{len(pairs):,} images are in one {what} and, with the same pixels, in another: {_listed(pairs)}"
        for what, pairs in found.items()
        if pairs
    ]


def _listed(pairs: list[str]) -> str:
    return "; ".join(pairs[:LISTED]) + ("; ..." if len(pairs) > LISTED else "")
