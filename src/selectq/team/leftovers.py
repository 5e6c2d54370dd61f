"""What DVC rewrites in place, and leaves unreadable when it is killed in the middle: `dvc.lock`, and its own lock file.

Until they are mended, no `dvc repro` starts.
"""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.dvc import ask_dvc

LOCK_FILE = "dvc.lock"
TEMPORARY = Path(".dvc") / "tmp"


def mend_locks(checkout: Path) -> list[str]:
    """Put away what a killed DVC has left unreadable; what was done, a line for each file.

    `dvc.lock` becomes git's copy of it, or goes: what ran since is in the run cache, where `dvc repro` finds it.

    Raises:
        UserError: DVC is at work here, or it is not installed.
    """
    with _without_dvc(checkout):
        return [*_mend_own_lock(checkout / TEMPORARY / "rwlock"), *_mend_lock_file(checkout)]


def _mend_own_lock(path: Path) -> Iterator[str]:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()
        yield f"removed: {path}, which a killed DVC had left unreadable"


def _mend_lock_file(checkout: Path) -> Iterator[str]:
    path = checkout / LOCK_FILE
    try:
        ask_dvc(checkout, "stage", "list", "--name-only")
    except UserError as error:
        if not path.exists() or LOCK_FILE not in str(error):  # something else is wrong: not ours to mend
            return
        committed = subprocess.run(
            ["git", "show", f"HEAD:./{LOCK_FILE}"], cwd=checkout, capture_output=True, check=False
        )
        if committed.returncode:
            path.unlink()
        else:
            write_bytes(path, committed.stdout)
        done = "removed" if committed.returncode else "replaced by git's copy"
        yield f"{done}: {path}, which a killed DVC had left unreadable"


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
