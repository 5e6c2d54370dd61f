"""Fetching: folders, earlier downloads, then addresses in order; nothing half-downloaded is ever taken for whole."""

import hashlib
import os
from pathlib import Path

import pytest
from stand_ins import Server

from selectq.data.fetch import DOWNLOADS, Checksum, fetch, file_name
from selectq.errors import UserError

CONTENT = b"the file" * 100_000
MD5 = Checksum("md5", hashlib.md5(CONTENT).hexdigest())


def test_downloads_a_file_and_keeps_it(here: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.files["/x"] = CONTENT
    for _ in range(2):
        assert fetch("x", [], [f"{server.url}/x"], MD5).read_bytes() == CONTENT
    assert server.asked == ["/x"], "the second time it is there"
    assert capsys.readouterr() == ("", "")


def test_folders_come_before_the_network(here: Path, server: Server) -> None:
    (here / "x").write_bytes(CONTENT)
    assert fetch("x", [here / "empty", here], [f"{server.url}/x"], MD5) == here / "x"
    assert server.asked == []


def test_wrong_file_in_a_folder_leads_to_the_network(
    here: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x").write_bytes(b"other")
    server.files["/x"] = CONTENT
    assert fetch("x", [here], [f"{server.url}/x"], MD5) == DOWNLOADS / "x"
    assert capsys.readouterr().err.startswith(f"notice: {here}/x: its md5 is ")


def test_every_failure_leads_to_the_next_address(
    here: Path, server: Server, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files |= {"/other/x": b"other", "/cut/x": CONTENT, "/good/x": CONTENT}
    server.cut.add("/cut/x")
    urls = [closed, *(f"{server.url}/{folder}/x" for folder in ("none", "other", "cut", "good"))]
    assert fetch("x", [], urls, MD5).read_bytes() == CONTENT
    notices = capsys.readouterr().err.splitlines()
    assert notices[0] == f"notice: {closed}: [Errno 111] Connection refused"
    assert notices[1] == f"notice: {server.url}/none/x: HTTP 404 Not Found"
    assert notices[2].startswith(f"notice: {server.url}/other/x: its md5 is ")
    assert notices[3] == f"notice: {server.url}/cut/x: broke off after 400000 of 800000 bytes"
    assert len(notices) == 4


def test_all_failures_are_told(here: Path, server: Server, closed: str) -> None:
    with pytest.raises(UserError) as failure:
        fetch("x", [], [closed, f"{server.url}/x", "ftp://host/x", "http://[bad/x", "nonsense"], MD5)
    assert str(failure.value).startswith(
        f"x cannot be had: {closed}: [Errno 111] Connection refused; {server.url}/x: HTTP 404"
    )
    assert "ftp://host/x: not an address; allowed: http, https, file; http://[bad/x: " in str(failure.value)
    assert "; nonsense: not an address; allowed: http, https, file; " in str(failure.value)
    assert str(failure.value).endswith(
        "; have it from elsewhere, and name its folder in the environment variable SELECTQ_DATA"
    )


@pytest.mark.parametrize("fault", ["cut", "wrong"])
def test_failed_download_leaves_nothing(fault: str, here: Path, server: Server) -> None:
    server.files["/x"] = CONTENT if fault == "cut" else b"other"
    server.cut = {"/x"} if fault == "cut" else set()
    with pytest.raises(UserError):
        fetch("x", [], [f"{server.url}/x"], MD5)
    assert list(DOWNLOADS.iterdir()) == []


def test_silent_host_times_out(here: Path, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectq.data.fetch.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"timed out"):
        fetch("x", [], [f"{silent}/x"], MD5)


def test_damaged_earlier_download_is_replaced(here: Path, server: Server) -> None:
    DOWNLOADS.mkdir(parents=True)
    (DOWNLOADS / "x").write_bytes(CONTENT[:1000])
    server.files["/x"] = CONTENT
    assert fetch("x", [], [f"{server.url}/x"], MD5).read_bytes() == CONTENT


def test_without_a_checksum_earlier_downloads_are_not_trusted(here: Path, server: Server) -> None:
    for content in (b"old", b"new"):
        server.files["/x"] = content
        assert fetch("x", [], [f"{server.url}/x"], None).read_bytes() == content


def test_full_disk_is_no_failure_of_the_network(here: Path, server: Server) -> None:
    server.files["/x"] = CONTENT
    DOWNLOADS.mkdir(parents=True)
    (DOWNLOADS / f".x.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch("x", [], [f"{server.url}/x"], MD5)
    assert list(DOWNLOADS.iterdir()) == []


def test_file_addresses_and_capital_digests_work(here: Path) -> None:
    (here / "my file").write_bytes(CONTENT)
    url = (here / "my file").as_uri()
    assert fetch(file_name(url), [], [url], Checksum("md5", MD5.hexdigest.upper())) == DOWNLOADS / "my file"
