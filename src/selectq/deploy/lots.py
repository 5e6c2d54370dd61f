"""Three disjoint lots of labelled images: to calibrate on, to choose among candidates by, and to report accuracy on.

Which image goes where depends on the seed and the files' content, not on how or in which order they are packed.
"""

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from selectq.data.duplicates import Placed, describe_duplicates
from selectq.data.packed import SPLITS, Dataset, Split, read_dataset
from selectq.data.split import class_quotas, rank
from selectq.deploy.labelled_images import ONE_POOL, PACKED_ENDING, Listed, decode_images, list_images
from selectq.errors import UserError
from selectq.programs.images import resized_pixels
from selectq.progress import progress

DEFAULT_SIZE = 224
LARGEST_SIZE = 1024
CALIBRATION = 512
LARGEST = {"train": CALIBRATION, "validation": 1000}
"""Images that calibration and the choice among candidates take at most, where nothing is retrained."""

SHARE = 5
"""Of a part that serves several lots, each but the last gets a fifth of what is left."""

SERVED_BY = {
    "train": ("train", "val", "test"),
    "validation": ("val", "train", "test"),
    "test": ("test", "val", "train"),
}
"""Lot, called as the split of a data set -> the parts that it may come from; the first that is there is taken."""


@dataclass(frozen=True)
class Lots:
    """The lots before they are decoded; `notes` tell what an accuracy on them does not show.

    `read` gives them as a data set's splits: `train` calibrates, `validation` chooses, `test` is reported on.
    """

    classes: tuple[str, ...]
    size: int
    notes: tuple[str, ...]
    read: Callable[[], Dataset]


def open_lots(path: Path, size: int | None, seed: int, skip_bad: bool, largest: Mapping[str, int] = LARGEST) -> Lots:
    """The lots of a packed data set, or of a folder, zip or tar of image files.

    Image files are brought to `size` pixels; None: what the packed file has, or 224. A lot takes at most `largest`.

    Raises:
        UserError: nothing there, no images to divide, or another size. Reading raises it for an image that cannot be
            read.
    """
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise UserError(f"--size: {size} is out of range; allowed: 1 to {LARGEST_SIZE}")
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.suffix == PACKED_ENDING:
        return _packed(path, size, seed, largest)
    listed = list_images(path)
    classes = tuple(sorted({image.label for image in listed}))
    for line in describe_duplicates(
        Placed(image.digest, image.part, classes.index(image.label), str(image.path)) for image in listed
    ):
        print(f"warning: {line}", file=sys.stderr)
    parts = {image.part for image in listed}
    divided = divide(listed, classes, str(path), seed, largest)
    chosen = {lot: images[: largest.get(lot)] for lot, images in divided.items()}
    pixels = size or DEFAULT_SIZE

    def read() -> Dataset:
        splits = _decode(path, chosen, classes, pixels, skip_bad)
        return Dataset(**splits, classes=classes, origin={"name": "images", "source": path.name})

    return Lots(classes, pixels, _notes(parts), read)


def _packed(path: Path, size: int | None, seed: int, largest: Mapping[str, int]) -> Lots:
    dataset = read_dataset(path)
    for name in SPLITS:
        images = getattr(dataset, name).images
        if not len(images):
            raise UserError(f"{path}: no {name} images; allowed: one or more in each of {', '.join(SPLITS)}")
        if size not in (None, images.shape[-1]):
            raise UserError(f"--size: {size}, but the images of {path} are packed with {images.shape[-1]} pixels")
    train, validation = (_sampled(getattr(dataset, lot), most, seed) for lot, most in largest.items())
    limited = dataclasses.replace(dataset, train=train, validation=validation)
    return Lots(dataset.classes, dataset.test.images.shape[-1], (), lambda: limited)


def _sampled(split: Split, most: int, seed: int) -> Split:
    return split.sample(min(most, len(split)), seed)


def divide(
    listed: Sequence[Listed], classes: Sequence[str], origin: str, seed: int, largest: Mapping[str, int]
) -> dict[str, list[Listed]]:
    """The images of each lot, in an order that owes nothing to how they were packed.

    A part that serves several lots is divided class by class; images of the same content go into one lot.

    Raises:
        UserError: a class has fewer images in a part than lots come from it; `origin` opens the message.
    """
    lots: dict[str, list[Listed]] = {}
    for part, served in _served({image.part for image in listed}).items():
        images = sorted(
            (image for image in listed if image.part == part),
            key=lambda image: (rank(seed, image.digest), str(image.path)),
        )
        *shared, rest = served
        for number, lot in enumerate(shared):
            lots[lot], images = _draw(images, classes, origin, len(served) - number, largest[lot])
        lots[rest] = images
    return lots


def _served(parts: Collection[str]) -> dict[str, list[str]]:
    """Part -> the lots that come from it, last what gets the most: evaluation, or else calibration."""
    served: dict[str, list[str]] = {}
    for lot, wanted in SERVED_BY.items():
        part = ONE_POOL if ONE_POOL in parts else next(each for each in wanted if each in parts)
        served.setdefault(part, []).append(lot)
    return {part: [*lots[1:], lots[0]] if lots == ["train", "validation"] else lots for part, lots in served.items()}


def _draw(
    images: Sequence[Listed], classes: Sequence[str], origin: str, uses: int, largest: int
) -> tuple[list[Listed], list[Listed]]:
    """A fifth of the images, or `largest`, stratified, and the others; of each class one stays for every other use."""
    first = {image.digest: image for image in reversed(images)}  # the same image twice goes where it goes once
    members = {
        label: [each for each in images if each.label == label and first[each.digest] is each] for label in classes
    }
    members = {label: own for label, own in members.items() if own}
    for label, own in members.items():
        if len(own) < uses:
            raise UserError(
                f"{origin}: class {label!r} has {len(own)} different images for {uses} uses; allowed: {uses} or more"
            )
    sizes = [len(own) - uses + 2 for own in members.values()]  # a quota is from 1 to one less
    fifth = min(largest, sum(map(len, members.values())) // SHARE)
    quotas = class_quotas(sizes, min(max(fifth, len(sizes)), sum(sizes) - len(sizes)))
    drawn = {each.digest for own, quota in zip(members.values(), quotas, strict=True) for each in own[:quota]}
    return [each for each in images if each.digest in drawn], [each for each in images if each.digest not in drawn]


def _decode(
    path: Path, chosen: Mapping[str, Sequence[Listed]], classes: Sequence[str], size: int, skip_bad: bool
) -> dict[str, Split]:
    place_of = {image.path: (lot, number) for lot, images in chosen.items() for number, image in enumerate(images)}
    pixels: dict[str, dict[int, NDArray[np.uint8]]] = {lot: {} for lot in chosen}
    found = decode_images(path, place_of, size, resized_pixels, skip_bad)
    for (lot, number), planes in progress(found, len(place_of), "images", unit="image"):
        pixels[lot][number] = planes
    label_of = {name: label for label, name in enumerate(classes)}
    splits = {}
    for lot, images in chosen.items():
        kept = sorted(pixels[lot])
        if not kept:
            raise UserError(f"{path}: none of the {len(images)} images of a lot can be read")
        labels = torch.tensor([label_of[images[number].label] for number in kept])
        splits[lot] = Split(torch.from_numpy(np.stack([pixels[lot].pop(number) for number in kept])), labels)
    return splits


def _notes(parts: Collection[str]) -> tuple[str, ...]:
    """What the parts that there are leave open."""
    if ONE_POOL in parts:
        return (
            "where the network was trained on some of these images, both accuracies are too high: use images that it"
            " has not seen",
        )
    served = _served(parts)
    notes = []
    if "validation" in served.get("train", ()):
        notes.append("the choice is made on images of train/, for want of val/: the network has probably seen them")
    if "test" in served.get("val", ()):
        notes.append("accuracies are those on val/, for want of test/: too high, if val/ decided on the network")
    if "test" in served.get("train", ()):
        notes.append("accuracies are those on images of train/, for want of test/ and val/: both are too high")
    return tuple(notes)
