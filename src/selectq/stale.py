"""Files that a configuration left behind when it was removed."""

from collections.abc import Iterable
from pathlib import Path

from selectq.errors import UserError


def refuse_stale(expected: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Refuse what lies beside the expected files and is not one of them: a removed configuration leaves it behind.

    Args:
        expected: the files that belong there.
        folders: looked into as well, for files that end as the expected ones do.

    Raises:
        UserError: names all such files.
    """
    wanted = set(expected)
    suffixes = {path.suffix for path in wanted}
    kinds = {(path.parent, path.suffix) for path in wanted} | {(folder, end) for folder in folders for end in suffixes}
    found = [path for folder, suffix in sorted(kinds) for path in sorted(folder.glob(f"*{suffix}"))]
    stale = [str(path) for path in found if path not in wanted]
    if stale:
        raise UserError(
            f"{', '.join(stale)}: of no configuration in params.yaml; delete, or put the configuration back"
        )
