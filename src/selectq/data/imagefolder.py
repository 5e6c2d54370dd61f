"""Images of the user's own: a tar, a zip or a folder of `train/<class>/*` and `test/<class>/*`."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from selectq.data.archives import GENEROUS, File, read_archive, read_folder
from selectq.data.decoding import decode, planes, resize
from selectq.data.fetch import Checksum, fetch, file_name, is_address
from selectq.data.labelled import LabelledImages, Source, image_digest
from selectq.errors import UserError
from selectq.params.configs import DataConfig, ImageFolderConfig

PARTS = ("train", "test")
_PACKED = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")


def load_imagefolder(config: DataConfig, folders: Sequence[Path]) -> Source:
    """Load the images of `data.imagefolder`, held to the hashes given there.

    Raises:
        UserError: not found, a wrong hash or none, or anything in it is not as it should be.
    """
    settings = config.imagefolder
    path = _locate(settings, folders)
    collected = _Collected(path.name, settings.image_size)
    archive_sha256 = _collect(path, settings, collected)
    classes = collected.classes()
    pixels_sha256 = collected.pixels_sha256()
    _check_pixels(path.name, settings, archive_sha256, pixels_sha256)
    # Without the container's suffix: the same images packed anew are the same data set.
    origin = {"name": "imagefolder", "source": _PACKED.sub("", path.name), "pixels_sha256": pixels_sha256}
    return Source(collected.images("train", classes), collected.images("test", classes), classes, origin)


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
    looked = ", ".join(str(place) for place in places)
    raise UserError(f"data.imagefolder.source: {source} is not in any of: {looked}")


def _collect(path: Path, settings: ImageFolderConfig, collected: "_Collected") -> str | None:
    """Collect the images of a folder, or of an archive whose sha256 is right; return that sha256."""
    if path.is_dir():
        collected.add_all(read_folder(path, GENEROUS))
        return None
    with path.open("rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
        if settings.archive_sha256 and settings.archive_sha256.lower() != digest:
            raise UserError(f"{path.name}: its sha256 is {digest}, not {settings.archive_sha256}")
        collected.add_all(read_archive(archive, path.name, GENEROUS))
    return digest


def _check_pixels(name: str, settings: ImageFolderConfig, archive_sha256: str | None, pixels_sha256: str) -> None:
    if settings.pixels_sha256 and settings.pixels_sha256.lower() != pixels_sha256:
        raise UserError(f"{name}: the sha256 of its pixels is {pixels_sha256}, not {settings.pixels_sha256}")
    if settings.pixels_sha256 or (settings.archive_sha256 and archive_sha256):
        return
    computed = f"pixels_sha256: {pixels_sha256}" + (f" or archive_sha256: {archive_sha256}" if archive_sha256 else "")
    raise UserError(f"data.imagefolder: no hash to hold {name} to; if you trust it, set {computed}")


class _Collected:
    """Images decoded one at a time into one growing buffer for each of PARTS."""

    def __init__(self, name: str, image_size: int) -> None:
        self._name, self._image_size = name, image_size
        self._top: tuple[str, ...] | None = None
        self._pixels = {part: bytearray() for part in PARTS}
        self._labels: dict[str, list[str]] = {part: [] for part in PARTS}
        self._digests: dict[str, list[bytes]] = {part: [] for part in PARTS}

    def add_all(self, files: Iterable[File]) -> None:
        for file in tqdm(files, desc=self._name, unit=" images", disable=None):
            part, label = self._part_and_class(file.path)
            image = decode(file.content, f"{self._name}: {str(file.path)!r}")
            self._pixels[part] += planes(resize(image, self._image_size)).tobytes()
            self._labels[part].append(label)
            self._digests[part].append(image_digest(planes(image)))

    def classes(self) -> tuple[str, ...]:
        train, test = set(self._labels["train"]), set(self._labels["test"])
        if not train | test:
            raise UserError(f"{self._name}: no images; expected train/<class>/<image> and test/<class>/<image>")
        for label in sorted(train ^ test):
            raise UserError(f"{self._name}: class {label!r} has no images in {'test' if label in train else 'train'}/")
        return tuple(sorted(train))

    def pixels_sha256(self) -> str:
        """A hash of parts, classes and decoded pixels, whatever files they came in and in which order."""
        lines = [
            f"{part}/{label}/{digest.hex()}\n"
            for part in PARTS
            for label, digest in zip(self._labels[part], self._digests[part], strict=True)
        ]
        return hashlib.sha256("".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()

    def images(self, part: str, classes: tuple[str, ...]) -> LabelledImages:
        pixels = np.frombuffer(self._pixels[part], np.uint8)
        label_of = {name: label for label, name in enumerate(classes)}
        labels = np.array([label_of[name] for name in self._labels[part]], np.int64)
        return LabelledImages(pixels.reshape(-1, 3, self._image_size, self._image_size), labels, self._digests[part])

    def _part_and_class(self, path: PurePosixPath) -> tuple[str, str]:
        """Read `[<top>/]<part>/<class>/<image>`, where all files share one top folder or have none."""
        *top, part, label, _ = path.parts if len(path.parts) in (3, 4) else ("", "", "")
        self._top = tuple(top) if self._top is None else self._top
        if part not in PARTS or self._top != tuple(top):
            raise UserError(f"{self._name}: {str(path)!r} is neither train/<class>/<image> nor test/<class>/<image>")
        return part, label
