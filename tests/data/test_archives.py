"""Reading archives and folders: the same files from every container, and every bad one refused in one line."""

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import pack_folder, pack_tar, pack_zip

from selectq.data.archives import GENEROUS, NOT_PLAIN, Limits, read_archive, read_folder
from selectq.data.left_out import LeftOut
from selectq.errors import UserError

FILES = {f"train/cat/{number}.png": os.urandom(3000) for number in range(5)}
Packer = Callable[[Path, dict[str, bytes]], Path]
PACKERS: dict[str, Callable[[Path], Path]] = {
    "tar": lambda path: pack_tar(path, FILES),
    "gz": lambda path: pack_tar(path, FILES, "w:gz"),
    "bz2": lambda path: pack_tar(path, FILES, "w:bz2"),
    "xz": lambda path: pack_tar(path, FILES, "w:xz"),
    "zip": lambda path: pack_zip(path, FILES),
}


class Noted(LeftOut):
    """Keeps what is left out as pairs of reason and path."""

    def __init__(self) -> None:
        super().__init__("it")
        self.all: list[tuple[str, str]] = []

    def add(self, reason: str, name: object) -> None:
        self.all.append((reason, str(name)))


def read(path: Path, limits: Limits = GENEROUS, left_out: LeftOut | None = None) -> dict[str, bytes]:
    left_out = left_out or Noted()
    if path.is_dir():
        return {str(file.path): file.content for file in read_folder(path, limits, left_out)}
    with path.open("rb") as archive:
        return {str(file.path): file.content for file in read_archive(archive, path.name, limits, left_out)}


def left_out_of(path: Path, limits: Limits = GENEROUS) -> list[tuple[str, str]]:
    noted = Noted()
    read(path, limits, noted)
    return noted.all


def tar_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> Path:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linkname
    with tarfile.open(path, "w") as tar:
        tar.addfile(member)
    return path


@pytest.mark.parametrize("container", PACKERS)
def test_every_archive_yields_its_files(container: str, here: Path) -> None:
    path = PACKERS[container](here / "images")
    assert read(path) == FILES
    assert list(here.iterdir()) == [path], "nothing may be extracted"


def test_folder_yields_its_files(here: Path) -> None:
    assert read(pack_folder(here / "images", FILES)) == FILES


SYSTEM = (
    "train/.DS_Store",
    "__MACOSX/train/cat/._1.png",
    "train/cat/._1.png",
    ".git/train",
    "train/cat/Thumbs.db",
    "desktop.ini",
    "train/@eaDir/1.png",
)


@pytest.mark.parametrize("pack", [pack_tar, pack_zip, pack_folder])
def test_files_of_the_system_are_left_out_without_a_word(pack: Packer, here: Path) -> None:
    path = pack(here / "images", {**dict.fromkeys(SYSTEM, b"x"), **FILES})
    noted = Noted()
    assert read(path, left_out=noted) == FILES
    assert noted.all == []


@pytest.mark.parametrize("written", ["with macOS", "with its flag"])
def test_names_in_a_zip_are_utf8(written: str, here: Path) -> None:
    name = "train/v\u00f6gel/1.png"
    path = pack_zip(here / "i.zip", {name: b"x"})
    if written == "with macOS":
        path.write_bytes(path.read_bytes().replace(b"\x00\x08", b"\x00\x00"))
        assert zipfile.ZipFile(path).namelist() != [name], "the flag is gone"
    assert list(read(path)) == [name]


def test_names_of_the_old_code_page_in_a_zip_stay(here: Path) -> None:
    path = pack_zip(here / "i.zip", {"train/v\u00f6gel/1.png": b"x"})
    content = path.read_bytes().replace("\u00f6".encode(), b"\x94a").replace(b"\x00\x08", b"\x00\x00")
    path.write_bytes(content)
    assert list(read(path)) == ["train/v\u00f6agel/1.png"]


@pytest.mark.parametrize("pack", [pack_tar, pack_zip])
@pytest.mark.parametrize("name", ["/train/cat/1.png", "../1.png", "train/../../1.png", "train\\..\\1.png"])
def test_unsafe_paths_are_refused(pack: Packer, name: str, here: Path) -> None:
    with pytest.raises(UserError) as refusal:
        read(pack(here / "images.packed", {name: b"x"}))
    assert str(refusal.value).startswith(f"images.packed: {name!r} is an unsafe path; allowed: ")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_left_out(kind: bytes, here: Path) -> None:
    path = tar_with(here / "i.tar", "train/cat/1.png", kind, "/etc/passwd")
    assert left_out_of(path) == [(NOT_PLAIN, "train/cat/1.png")]


def test_sparse_file_in_a_tar_is_left_out(here: Path) -> None:
    assert left_out_of(tar_with(here / "i.tar", "zeros", tarfile.GNUTYPE_SPARSE)) == [(NOT_PLAIN, "zeros")]


def test_link_in_a_zip_is_left_out(here: Path) -> None:
    link = zipfile.ZipInfo("train/cat/1.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(here / "i.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert left_out_of(here / "i.zip") == [(NOT_PLAIN, "train/cat/1.png")]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc"), os.mkfifo], ids=["link", "fifo"])
def test_link_or_fifo_in_a_folder_is_left_out(make: Callable[[Path], None], here: Path) -> None:
    pack_folder(here / "images", FILES)
    make(here / "images/train/dog")
    assert left_out_of(here / "images") == [(NOT_PLAIN, "train/dog")]
    assert read(here / "images") == FILES


def test_encrypted_zip_is_refused(here: Path) -> None:
    path = PACKERS["zip"](here / "i.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^i\.zip: 'train/cat/0\.png' is encrypted"):
        read(path)


@pytest.mark.parametrize("container", PACKERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_archive_is_refused(container: str, share: float, here: Path) -> None:
    path = PACKERS[container](here / "images")
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"^images: damaged, or neither a zip nor a tar \(plain, gz, bz2, xz\): ."):
        read(path)


def test_tar_cut_between_two_members_is_refused(here: Path) -> None:
    path = PACKERS["tar"](here / "i.tar")
    path.write_bytes(path.read_bytes()[: 2 * (512 + 3072)])
    with pytest.raises(UserError, match=r"^i\.tar: damaged.*the end is missing$"):
        read(path)


def test_tar_with_a_broken_header_is_refused(here: Path) -> None:
    path = PACKERS["tar"](here / "i.tar")
    content = bytearray(path.read_bytes())
    content[512 + 3072] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^i\.tar: damaged.*broken header$"):
        read(path)


@pytest.mark.parametrize("container", ["gz", "bz2", "xz", "zip"])
def test_flipped_byte_is_noticed(container: str, here: Path) -> None:
    path = PACKERS[container](here / "images")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^images: damaged"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04hello", b"\x1f\x8bhello", os.urandom(5000)])
def test_what_is_no_archive_is_refused(content: bytes, here: Path) -> None:
    (here / "images").write_bytes(content)
    with pytest.raises(UserError, match=r"^images: damaged, or neither a zip nor a tar"):
        read(here / "images")


SMALL = Limits(file_bytes=200_000, total_bytes=500_000, files=10)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip", "folder"])
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([100_000] * 6, r"^bomb: unpacks to more than 500000 bytes$"),
        ([1] * 11, r"^bomb: holds more than 10 files and folders$"),
    ],
    ids=["total", "count"],
)
def test_bombs_run_into_the_limits(mode: str, sizes: list[int], message: str, here: Path) -> None:
    files = {str(number): bytes(size) for number, size in enumerate(sizes)}
    pack = {"zip": pack_zip, "folder": pack_folder}.get(mode, lambda path, files: pack_tar(path, files, mode))
    with pytest.raises(UserError, match=message):
        read(pack(here / "bomb", files), SMALL)


@pytest.mark.parametrize("mode", ["w", "w:gz", "zip", "folder"])
def test_file_too_large_for_an_image_is_left_out_unread(mode: str, here: Path) -> None:
    files = {"film.mp4": bytes(300_000), "image": b"x"}
    pack = {"zip": pack_zip, "folder": pack_folder}.get(mode, lambda path, files: pack_tar(path, files, mode))
    path, noted = pack(here / "images", files), Noted()
    assert read(path, SMALL, noted) == {"image": b"x"}
    assert noted.all == [("larger than 200000 bytes", "film.mp4")]


def test_bomb_in_a_tar_header_runs_into_the_limits(here: Path) -> None:
    pack_tar(here / "bomb", {"long/" * 100_000: b""}, "w:xz")
    assert (here / "bomb").stat().st_size < 2_000
    with pytest.raises(UserError, match=r"is larger than 200000 bytes$"):
        read(here / "bomb", SMALL)


def test_zip_header_that_understates_a_size_does_not_help(here: Path) -> None:
    path = pack_zip(here / "bomb", {"0": bytes(200_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 200_000), struct.pack("<I", 10)))
    with pytest.raises(UserError, match=r"^bomb: damaged"):
        read(path, SMALL)


def test_what_passes_the_limits_narrowly_is_read(here: Path) -> None:
    files = {str(number): bytes(20_000) for number in range(10)}
    assert read(pack_tar(here / "images", files, "w:xz"), SMALL) == files


def test_reading_is_lazy() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(100):
            member = tarfile.TarInfo(str(number))
            member.size = 100_000
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    buffer.seek(0)
    next(read_archive(buffer, "lazy", GENEROUS, Noted()))
    assert buffer.tell() < 300_000
