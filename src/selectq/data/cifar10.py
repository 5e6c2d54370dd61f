"""The official CIFAR-10 archive: found or downloaded, md5-checked, and only then unpickled."""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selectq.config.configs import DataConfig
from selectq.data.archives import GENEROUS, read_archive
from selectq.data.fetch import Checksum, fetch
from selectq.data.labelled import LabelledImages, Source, image_digest
from selectq.data.left_out import LeftOut
from selectq.errors import UserError

ARCHIVE = "cifar-10-python.tar.gz"
OFFICIAL_FOLDER = "https://www.cs.toronto.edu/~kriz"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
META = "batches.meta"


def load_cifar10(config: DataConfig, folders: Sequence[Path]) -> Source:
    """Load CIFAR-10 from the official archive, looked for in `folders`, then on mirrors, then on the official host.

    Raises:
        UserError: the archive cannot be had with the right md5, or does not hold CIFAR-10.
    """
    settings = config.cifar10
    urls = [f"{folder.rstrip('/')}/{ARCHIVE}" for folder in (*settings.mirrors, OFFICIAL_FOLDER)]
    path = fetch(ARCHIVE, folders, urls, Checksum("md5", settings.md5))
    contents = _read_batches(path)
    try:
        classes = tuple(_unpickle(contents[META])["label_names"])
        train, test = (
            _join([_unpickle(contents[name]) for name in names], f"{part} image")
            for part, names in (("training", TRAIN_BATCHES), ("test", TEST_BATCHES))
        )
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError) as error:
        raise UserError(f"{path.name}: does not hold CIFAR-10's batches ({error})") from None
    return Source(train, test, classes, {"name": "cifar10", "source": ARCHIVE, "md5": settings.md5})


def _read_batches(path: Path) -> dict[str, bytes]:
    wanted = {*TRAIN_BATCHES, *TEST_BATCHES, META}
    with path.open("rb") as archive:
        files = read_archive(archive, path.name, GENEROUS, LeftOut(path.name))
        return {file.path.name: file.content for file in files if file.path.name in wanted}


def _join(batches: list[Mapping[str, Any]], called: str) -> LabelledImages:
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([np.array(batch["labels"], np.int64) for batch in batches])
    if images.dtype != np.uint8 or len(images) != len(labels):
        raise ValueError(f"{len(images)} images of {images.dtype}, {len(labels)} labels")
    names = [f"{called} {number}" for number in range(len(labels))]
    return LabelledImages(images, labels, [image_digest(image) for image in images], names)


def _unpickle(content: bytes) -> Mapping[str, Any]:
    # Python 2 wrote the batches; numpy's documentation prescribes latin1 for its arrays.
    return _BatchUnpickler(io.BytesIO(content), encoding="latin1").load()


class _BatchUnpickler(pickle.Unpickler):
    """Builds plain data and numpy arrays, whatever else a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NUMPY_PARTS[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _empty_array(_subtype: object, shape: tuple[int, ...], _dtype: object) -> Any:
    """What numpy's own `_reconstruct` does, under a name that does not move between numpy versions."""
    return np.ndarray.__new__(np.ndarray, shape, "b")


def _dtype(code: str, align: int, copy: int) -> Any:
    """Python 2 pickles give the flags as numbers, which numpy has deprecated."""
    return np.dtype(code, align=bool(align), copy=bool(copy))


_NUMPY_PARTS = {
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _dtype,
}
