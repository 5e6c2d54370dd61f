"""Images of the user's own: a tar, zip or folder of `train/<class>/**`, `test/<class>/**`, perhaps `val/<class>/**`.

What is no image, or lies elsewhere, is left out and told.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from selectq.config.configs import DataConfig, ImageFolderConfig
from selectq.data.archives import GENEROUS, File, read_archive, read_folder
from selectq.data.decoding import decode, is_meant_as_image, planes, resize
from selectq.data.fetch import Checksum, fetch, file_name, is_address
from selectq.data.labelled import LabelledImages, Source, image_digest
from selectq.data.layout import ELSEWHERE, PARTS, Place, check_one_top, find_place
from selectq.data.left_out import BadImageError, BadImages, LeftOut
from selectq.errors import UserError

_PACKED = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")


def load_imagefolder(config: DataConfig, folders: Sequence[Path]) -> Source:
    """Load the images of `data.imagefolder`, held to the hashes given there.

    Raises:
        UserError: not found, a wrong hash or none, or anything in it is not as it should be.
    """
    settings = config.imagefolder
    path = _locate(settings, folders)
    collected = _Collected(path.name, settings)
    archive_sha256 = _collect(path, settings, collected)
    classes = collected.classes()
    pixels_sha256 = collected.pixels_sha256()
    _check_pixels(path.name, settings, archive_sha256, pixels_sha256)
    # Without the container's suffix: the same images packed anew are the same data set.
    origin = {"name": "imagefolder", "source": _PACKED.sub("", path.name), "pixels_sha256": pixels_sha256}
    train, validation, test = (collected.images(part, classes) for part in ("train", "val", "test"))
    return Source(train, test, classes, origin, validation if len(validation) else None)


def _locate(settings: ImageFolderConfig, folders: Sequence[Path]) -> Path:
    source = settings.source
    if is_address(source):
        if file_name(source) in ("", ".", "..") or "/" in file_name(source):
            raise UserError(f"data.imagefolder.source: {source} does not end in the name of a file")
        checksum = Checksum("sha256", settings.archive_sha256) if settings.archive_sha256 else None
        return fetch(file_name(source), folders, [source], checksum)
    places = [*folders, Path()]
    for place in places:
        if (place / source).exists():
            return (place / source).absolute()
    looked = ", ".join(str(place.absolute()) for place in places)
    raise UserError(
        f"data.imagefolder.source: {source} is not in {looked}; write its path or URL there, or name the folder that"
        " holds it in the environment variable SELECTQ_DATA (docs/data.md)"
    )


def _collect(path: Path, settings: ImageFolderConfig, collected: "_Collected") -> str | None:
    """Collect the images of a folder, or of an archive whose sha256 is right; return that sha256."""
    if path.is_dir():
        collected.add_all(read_folder(path, GENEROUS, collected.left_out))
        return None
    with path.open("rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
        if settings.archive_sha256 and settings.archive_sha256.lower() != digest:
            raise UserError(f"{path.name}: its sha256 is {digest}, not {settings.archive_sha256}")
        collected.add_all(read_archive(archive, path.name, GENEROUS, collected.left_out))
    return digest


def _check_pixels(name: str, settings: ImageFolderConfig, archive_sha256: str | None, pixels_sha256: str) -> None:
    if settings.pixels_sha256 and settings.pixels_sha256.lower() != pixels_sha256:
        raise UserError(f"{name}: the sha256 of its pixels is {pixels_sha256}, not {settings.pixels_sha256}")
    if settings.pixels_sha256 or (settings.archive_sha256 and archive_sha256):
        return
    computed = f"pixels_sha256: {pixels_sha256}" + (f" or archive_sha256: {archive_sha256}" if archive_sha256 else "")
    raise UserError(f"data.imagefolder: no hash to hold {name} to; if you trust it, set {computed}")


class _Collected:
    """Images decoded one at a time into one growing buffer for each part."""

    def __init__(self, name: str, settings: ImageFolderConfig) -> None:
        self._name, self._image_size = name, settings.image_size
        self.left_out = LeftOut(name)
        self._bad = BadImages(settings.skip_bad, "data.imagefolder.skip_bad: true")
        self._tops: set[str] = set()
        self._pixels: dict[str, bytearray] = {part: bytearray() for part in PARTS.values()}
        self._found: dict[str, list[tuple[str, bytes, str]]] = {part: [] for part in PARTS.values()}
        """By part, the class, digest and name of each image."""

    def add_all(self, files: Iterable[File]) -> None:
        for file in tqdm(files, desc=self._name, unit=" images", disable=None):
            place = find_place(file.path, self._name)
            if not is_meant_as_image(file.path, file.content):
                self.left_out.add("not images", file.path)
            elif place is None:
                self.left_out.add(ELSEWHERE, file.path)
            else:
                self._add(file, place)
        self._bad.check()
        self.left_out.tell()
        check_one_top(self._tops, self._name)

    def _add(self, file: File, place: Place) -> None:
        try:
            image = decode(file.content, f"{self._name}: {str(file.path)!r}")
        except BadImageError as error:
            self._bad.add(error)
            return
        self._tops.add(place.top)
        self._pixels[place.part] += planes(resize(image, self._image_size)).tobytes()
        self._found[place.part].append((place.label, image_digest(planes(image)), str(file.path)))

    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted; every part that there is has all of them."""
        labels = {part: {label for label, _, _ in found} for part, found in self._found.items()}
        every = sorted(set().union(*labels.values()))
        if not every:
            raise UserError(f"{self._name}: no images; expected train/<class>/<image> and test/<class>/<image>")
        for part in ("train", "test", *(["val"] if labels["val"] else [])):
            for label in every:
                if label not in labels[part]:
                    raise UserError(f"{self._name}: class {label!r} has no images in {part}/")
        return tuple(every)

    def pixels_sha256(self) -> str:
        """A hash of parts, classes and decoded pixels, whatever files they came in and in which order."""
        lines = [
            f"{part}/{label}/{digest.hex()}\n" for part, found in self._found.items() for label, digest, _ in found
        ]
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()

    def images(self, part: str, classes: tuple[str, ...]) -> LabelledImages:
        """The images of a part, which may be none."""
        pixels = np.frombuffer(self._pixels[part], np.uint8)
        label_of = {name: label for label, name in enumerate(classes)}
        labels = np.array([label_of[label] for label, _, _ in self._found[part]], np.int64)
        digests, names = [digest for _, digest, _ in self._found[part]], [name for _, _, name in self._found[part]]
        return LabelledImages(pixels.reshape(-1, 3, self._image_size, self._image_size), labels, digests, names)
