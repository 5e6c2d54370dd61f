"""Where images lie in a folder or archive: `[<top>/]<part>/<class>/**`, and what their folders are called."""

import unicodedata
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import NamedTuple

from selectq.errors import UserError

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folder name -> what it holds."""

ELSEWHERE = "in no class's folder"


class Place(NamedTuple):
    """An image's top folder ("" for none), its part (a value of PARTS) and its class."""

    top: str
    part: str
    label: str


def find_place(path: PurePosixPath, origin: str) -> Place | None:
    """The place of an image, however deep in its class's folder; None where no part and class are above it.

    Raises:
        UserError: the class's name is not UTF-8; `origin` opens the message.
    """
    for depth, folder in enumerate(path.parts[:2]):
        if folder in PARTS and len(path.parts) >= depth + 3:
            return Place("".join(path.parts[:depth]), PARTS[folder], class_name(path.parts[depth + 1], origin))
    return None


def class_name(folder: str, origin: str) -> str:
    """A class by its folder's name, in Unicode's form NFC: macOS writes `ö` as two characters, Linux as one.

    Raises:
        UserError: the name is not UTF-8; `origin` opens the message.
    """
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise UserError(f"{origin}: the name of the class {folder!a} is not UTF-8; rename its folder") from None
    return unicodedata.normalize("NFC", folder)


def check_one_top(tops: Collection[str], origin: str) -> None:
    """Refuse data sets side by side; `origin` opens the message of the UserError."""
    if len(tops) > 1:
        listed = ", ".join(repr(top) if top else "the folder itself" for top in sorted(tops))
        raise UserError(f"{origin}: images in several places ({listed}); allowed: one top folder, or none")
