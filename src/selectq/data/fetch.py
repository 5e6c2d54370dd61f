"""Finding a file in local folders, or downloading it from the first address that delivers it whole."""

import hashlib
import http.client
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote

from tqdm import tqdm

from selectq.errors import UserError
from selectq.files import written_whole

DOWNLOADS = Path(".checkpoints/downloads")
SCHEMES = ("http", "https", "file")
TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Checksum:
    """A hash that a file must have: the algorithm's name in hashlib, and the hex digest or its first digits."""

    algorithm: str
    hexdigest: str


class _AttemptError(Exception):
    """One place did not have the file; the message says why."""


def data_folders() -> list[Path]:
    """The folders that the environment variable SELECTQ_DATA names.

    Raises:
        UserError: one of them is not a folder.
    """
    folders = [Path(folder) for folder in os.environ.get("SELECTQ_DATA", "").split(os.pathsep) if folder]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"SELECTQ_DATA: {folder} is not a folder")
    return folders


def is_address(text: str) -> bool:
    """Whether a text is an address, not a path."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def file_name(url: str) -> str:
    """The last part of an address's path: the name of the file to which it leads."""
    return unquote(re.split("[?#]", url)[0].rpartition("/")[2])


def fetch(name: str, folders: Sequence[Path], urls: Sequence[str], checksum: Checksum | None) -> Path:
    """The path of the file `name`, from the first place that has it with the right `checksum`.

    Looks in `folders`, then among earlier downloads (only where a checksum tells whether they still
    hold), then downloads from `urls` in order. Every place that fails is noted on stderr.

    Raises:
        UserError: no place has it; says why for each.
    """
    reasons = []
    for folder in [*folders, DOWNLOADS] if checksum else folders:
        if (folder / name).is_file():
            try:
                _check(folder / name, checksum)
                return folder / name
            except _AttemptError as failure:
                reasons.append(_note(folder / name, failure))
    for url in urls:
        try:
            return _download(url, DOWNLOADS / name, checksum)
        except _AttemptError as failure:
            reasons.append(_note(url, failure))
    without = ", ".join(str(folder) for folder in folders if not (folder / name).is_file())
    if without:
        reasons.append(f"not in {without}")
    reasons.append("have it from elsewhere, and name its folder in the environment variable SELECTQ_DATA")
    raise UserError(f"{name} cannot be had: {'; '.join(reasons)}")


def _note(place: Path | str, failure: _AttemptError) -> str:
    reason = f"{place}: {failure}"
    print(f"notice: {reason}", file=sys.stderr)
    return reason


def _check(path: Path, checksum: Checksum | None) -> None:
    if checksum is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, checksum.algorithm).hexdigest()
    if not found.startswith(checksum.hexdigest.lower()):
        raise _AttemptError(f"its {checksum.algorithm} is {found}, not {checksum.hexdigest}")


def _download(url: str, target: Path, checksum: Checksum | None) -> Path:
    with written_whole(target) as partial:
        with partial.open("wb") as file:
            for chunk in _chunks(url):
                file.write(chunk)
        _check(partial, checksum)
    return target


def _chunks(url: str) -> Iterator[bytes]:
    """Yield a response's body; a failure of the network (not of this machine's disk) becomes _AttemptError."""
    if not is_address(url):
        raise _AttemptError(f"not an address; allowed: {', '.join(SCHEMES)}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            with tqdm(desc=file_name(url), total=expected, unit="B", unit_scale=True, disable=None) as progress:
                received = 0
                while chunk := response.read(_CHUNK_BYTES):
                    yield chunk
                    received += len(chunk)
                    progress.update(len(chunk))
        if received < expected:
            raise _AttemptError(f"broke off after {received} of {expected} bytes")
    except HTTPError as error:
        raise _AttemptError(f"HTTP {error.code} {error.reason}") from None
    except URLError as error:
        raise _AttemptError(str(error.reason)) from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise _AttemptError(str(error) or type(error).__name__) from None
