"""Stratified hold-out that depends on the seed and the pixels alone, not on a library's random numbers."""

import hashlib
from collections.abc import Sequence

import numpy as np

from selectq.data.labelled import LabelledImages
from selectq.errors import UserError


def hold_out(
    images: LabelledImages, classes: Sequence[str], count: int, seed: int, key: str
) -> tuple[list[int], list[int]]:
    """The indices that stay and the `count` indices that are held out, stratified; every class is in both.

    Raises:
        UserError: `count`, the value of the parameter `key`, leaves a class without images on one side.
    """
    sizes = np.bincount(images.labels, minlength=len(classes)).tolist()
    _check_count(dict(zip(classes, sizes, strict=True)), count, key)
    kept: list[int] = []
    held: list[int] = []
    for label, quota in enumerate(class_quotas(sizes, count)):
        members = np.flatnonzero(images.labels == label).tolist()
        shuffled = sorted(members, key=lambda index: rank(seed, images.digests[index]))
        held += shuffled[:quota]
        kept += shuffled[quota:]
    return kept, held


def class_quotas(sizes: Sequence[int], count: int) -> list[int]:
    """Divide `count` among classes in proportion to `sizes` by largest remainder, each from 1 to size - 1."""
    total = sum(sizes)
    quotas = [min(max(count * size // total, 1), size - 1) for size in sizes]
    while sum(quotas) != count:
        step = 1 if sum(quotas) < count else -1
        movable = [label for label, size in enumerate(sizes) if 1 <= quotas[label] + step <= size - 1]
        shortfall = {label: step * (count * sizes[label] - quotas[label] * total) for label in movable}
        quotas[max(movable, key=shortfall.__getitem__)] += step
    return quotas


def _check_count(sizes: dict[str, int], count: int, key: str) -> None:
    for name, size in sizes.items():
        if size < 2:
            raise UserError(f"{key}: class {name!r} cannot be divided, it has {size} images; allowed: 2 or more")
    low, high = len(sizes), sum(sizes.values()) - len(sizes)
    if not low <= count <= high:
        raise UserError(
            f"{key}: {count} is out of range; allowed: {low} to {high}, so that every class is on both sides"
        )


def rank(seed: int, digest: bytes) -> bytes:
    """Where an image stands in the order of a seed; `digest` is of its content."""
    return hashlib.sha256(f"{seed}:".encode() + digest).digest()
