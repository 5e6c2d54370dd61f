"""CIFAR-10 from a small stand-in for the official archive, byte for byte of the official form."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from stand_ins import CLASSES, Server, cifar10_files, pack_tar

from selectq.config.configs import Cifar10Config, DataConfig, DigitsConfig, ImageFolderConfig
from selectq.data import cifar10
from selectq.data.cifar10 import ARCHIVE, load_cifar10
from selectq.data.labelled import Source
from selectq.errors import UserError

NO_FOLDER = ImageFolderConfig("", None, None, 32, skip_bad=False)


def config(archive: Path, *mirrors: str) -> DataConfig:
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    return DataConfig("cifar10", 6, 0, Cifar10Config(mirrors, md5), NO_FOLDER, DigitsConfig(450))


@pytest.fixture
def archive(here: Path) -> Path:
    (here / "own").mkdir()
    return pack_tar(here / "own" / ARCHIVE, cifar10_files(), "w:gz")


@pytest.fixture(autouse=True)
def official(closed: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The official host, which no test may reach."""
    monkeypatch.setattr(cifar10, "OFFICIAL_FOLDER", closed)
    return closed


def check(source: Source) -> None:
    assert source.classes == CLASSES
    assert (source.train.images.shape, source.test.images.shape) == ((30, 3, 32, 32), (6, 3, 32, 32))
    expected = np.random.RandomState(5).randint(0, 256, (6, 3, 32, 32), np.uint8)
    assert np.array_equal(source.test.images, expected)
    assert source.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert source.train.labels.dtype == np.int64


def test_loads_from_a_folder(archive: Path) -> None:
    source = load_cifar10(config(archive), [archive.parent])
    check(source)
    assert source.origin == {"name": "cifar10", "source": ARCHIVE, "md5": config(archive).cifar10.md5}


def test_mirrors_are_tried_in_order(archive: Path, server: Server, closed: str) -> None:
    server.files = {f"/wrong/{ARCHIVE}": b"other", f"/good/{ARCHIVE}": archive.read_bytes()}
    check(load_cifar10(config(archive, closed, f"{server.url}/wrong", f"{server.url}/good/"), []))
    assert server.asked == [f"/wrong/{ARCHIVE}", f"/good/{ARCHIVE}"]


def test_official_host_comes_last(archive: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "OFFICIAL_FOLDER", f"{server.url}/official")
    server.files[f"/official/{ARCHIVE}"] = archive.read_bytes()
    check(load_cifar10(config(archive, f"{server.url}/mirror"), []))
    assert server.asked == [f"/mirror/{ARCHIVE}", f"/official/{ARCHIVE}"]


def test_no_network_is_one_message_with_every_attempt(archive: Path, server: Server, closed: str) -> None:
    with pytest.raises(UserError) as failure:
        load_cifar10(config(archive, f"{server.url}/mirror"), [])
    assert str(failure.value).startswith(
        f"{ARCHIVE} cannot be had: {server.url}/mirror/{ARCHIVE}: HTTP 404 Not Found; "
        f"{closed}/{ARCHIVE}: [Errno 111] Connection refused; have it from elsewhere, "
    )


class Evil:
    """Unpickled by plain `pickle.loads`, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def evil_archive(here: Path) -> Path:
    content = pickle.dumps(Evil(here / "touched"), protocol=2)
    return pack_tar(here / ARCHIVE, {f"x/{name.split('/')[1]}": content for name in cifar10_files()}, "w:gz")


def test_evil_pickle_is_evil(here: Path) -> None:
    pickle.loads(pickle.dumps(Evil(here / "touched"), protocol=2))
    assert (here / "touched").exists()


def test_nothing_is_unpickled_before_the_md5_is_right(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_BatchUnpickler", pickle.Unpickler)
    with pytest.raises(UserError, match="its md5 is"):
        load_cifar10(config(archive), [evil_archive(here).parent])
    assert not (here / "touched").exists()


def test_nothing_but_arrays_is_unpickled_after_that(here: Path) -> None:
    evil = evil_archive(here)
    with pytest.raises(UserError, match=rf"^{ARCHIVE}: does not hold CIFAR-10's batches \(it asks for "):
        load_cifar10(config(evil), [here])
    assert not (here / "touched").exists()


@pytest.mark.parametrize("member", ["data_batch_3", "test_batch", "batches.meta"])
def test_missing_member_is_refused(member: str, here: Path) -> None:
    files = {name: content for name, content in cifar10_files().items() if not name.endswith(member)}
    archive = pack_tar(here / ARCHIVE, files, "w:gz")
    with pytest.raises(UserError, match=rf"does not hold CIFAR-10's batches \('{member}'\)$"):
        load_cifar10(config(archive), [here])
