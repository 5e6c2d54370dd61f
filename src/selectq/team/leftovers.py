"""What a killed DVC leaves behind that no DVC can read: every `dvc repro` fails until it is mended.

DVC rewrites `dvc.lock` and a lock file of its own in place, and a folder that it makes in its run cache, for the entry
of a stage with these inputs, is empty for a moment.
"""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.dvc import cache_folder, require_dvc

LOCK_FILE = "dvc.lock"
TEMPORARY = Path(".dvc") / "tmp"


def mend_leftovers(checkout: Path) -> list[str]:
    """Put away what a killed DVC has left unreadable; what was done, a line for each file or folder.

    `dvc.lock` becomes git's copy of it, or goes: what ran since is in the run cache, where `dvc repro` finds it.

    Raises:
        UserError: DVC is at work here, or it is not installed.
    """
    require_dvc()
    with _without_dvc(checkout):
        return [
            *_mend_own_lock(checkout / TEMPORARY / "rwlock"),
            *_mend_lock_file(checkout),
            *_mend_run_cache(cache_folder(checkout) / "runs"),
        ]


def _mend_own_lock(path: Path) -> Iterator[str]:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()
        yield f"removed: {path}, which a killed DVC had left unreadable"


def _mend_lock_file(checkout: Path) -> Iterator[str]:
    from dvc.exceptions import DvcException  # noqa: PLC0415  # half a second
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # noqa: PLC0415
    from dvc.utils import strictyaml  # noqa: PLC0415

    path = checkout / LOCK_FILE
    try:
        strictyaml.load(str(path), COMPILED_LOCKFILE_SCHEMA)
    except FileNotFoundError:
        return
    except DvcException:
        committed = subprocess.run(
            ["git", "show", f"HEAD:./{LOCK_FILE}"], cwd=checkout, capture_output=True, check=False
        )
        if committed.returncode:
            path.unlink()
        else:
            write_bytes(path, committed.stdout)
        done = "removed" if committed.returncode else "replaced by git's copy"
        yield f"{done}: {path}, which a killed DVC had left unreadable"


def _mend_run_cache(runs: Path) -> Iterator[str]:
    for folder in runs.glob("??/*"):
        with contextlib.suppress(OSError):  # most are not empty
            folder.rmdir()
            yield f"removed: {folder}, which a killed DVC had left empty"


@contextlib.contextmanager
def _without_dvc(checkout: Path) -> Iterator[None]:
    """Hold DVC's lock of the repository for the length of the block.

    Raises:
        UserError: DVC holds it.
    """
    path = checkout / TEMPORARY / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"DVC is at work in {checkout}; wait for it to end, then try again") from None
        yield
