"""The user's own files: looked for in his folders, and held to a hash before they are read."""

from collections.abc import Sequence
from pathlib import Path

from selectq.data.fetch import Checksum, fetch
from selectq.errors import UserError
from selectq.files import sha256


def own_file(key: str, name: str, digest: str | None, folders: Sequence[Path]) -> Path:
    """The path of the file that the parameter `key` names, looked for in the current folder, then in `folders`.

    The hash stands beside it in `params.yaml`: it is how DVC sees that the file is another one.

    Raises:
        UserError: no such file, or not of this hash; where that is None, the message says which to write.
    """
    path = fetch(name, [Path(), *folders], [], Checksum("sha256", digest) if digest else None)
    if digest is None:
        raise UserError(f"{key}: no hash to hold {path} to; if you trust it, set {key}_sha256: {sha256(path)}")
    return path
