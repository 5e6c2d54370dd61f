"""Files of configurations that are gone: edited out of `params.yaml`, or left by another branch."""

from collections.abc import Collection
from pathlib import Path


def drop_others(folder: Path, names: Collection[str]) -> None:
    """Delete the files in `folder` that belong to none of `names`, as a file's name says up to its first dot.

    Stages that depend on the whole folder call it. DVC hashes what they depend on once more when they have run, so the
    lock is the same as in a fresh clone; what is deleted is in DVC's cache, for when the configuration comes back.
    """
    for path in folder.glob("[a-z]*.*"):
        if path.name.partition(".")[0] not in names:
            path.unlink()
