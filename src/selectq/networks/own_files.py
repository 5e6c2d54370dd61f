"""The user's own files: looked for in his folders, and held to a hash before they are read."""

from collections.abc import Sequence
from pathlib import Path

from selectq.data.fetch import Checksum, fetch
from selectq.errors import UserError
from selectq.files import sha256


def own_file(key: str, name: str, digest: str | None, folders: Sequence[Path]) -> Path:
    """The path of the file that the parameter `key` names.

    The hash stands beside it in `params.yaml`: it is how DVC sees that the file is another one.

    Args:
        key: such as `model.weights`; the parameter `model.weights_sha256` holds the hash.
        name: a path, or a name that is looked up in `folders`.
        digest: its sha256, or None.
        folders: looked in behind the current one.

    Raises:
        UserError: no such file, or not of this hash; where that is None, the message says which to write.
    """
    path = fetch(name, [Path(), *folders], [], Checksum("sha256", digest) if digest else None)
    if digest is None:
        raise UserError(f"{key}: no hash to hold {path} to; if you trust it, set {key}_sha256: {sha256(path)}")
    return path
