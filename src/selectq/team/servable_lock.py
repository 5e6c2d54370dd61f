"""`dvc.lock` without what cannot be had.

Where a stage's inputs are those of the lock, DVC looks for the outputs that the lock names and for no others: if they
are nowhere, as after another machine's run, it runs the stage, although its run cache may hold what was made elsewhere
of the same inputs. Without the stage's entry it looks there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selectq.config.load import read_yaml, write_yaml
from selectq.errors import UserError
from selectq.team.cache import DIRECTORY, file_md5, listed_files, object_path

if TYPE_CHECKING:
    from dvc.repo import Repo

Out = Mapping[str, str]
"""An output of a stage, as the lock has it: path, md5."""


def servable_lock(lock: Path, can_be_had: Callable[[Out], bool]) -> str:
    """The text of a lock, without the stages one of whose outputs cannot be had.

    Raises:
        UserError: the lock cannot be read.
    """
    document = read_yaml(lock)
    stages: dict[str, Any] = document["stages"]
    held = {name: stage for name, stage in stages.items() if all(map(can_be_had, stage.get("outs", [])))}
    return lock.read_text(encoding="utf-8") if held == stages else write_yaml({**document, "stages": held})


def had_from_cache(cache: Path, workspace: Path) -> Callable[[Out], bool]:
    """Whether an output is in the cache, or as the lock says in the workspace."""

    def can_be_had(out: Out) -> bool:
        path = workspace / out["path"]
        return _holds(cache, out["md5"]) or (path.is_file() and file_md5(path) == out["md5"])

    return can_be_had


def had_from_remote(repository: "Repo") -> Callable[[Out], bool]:
    """Whether an output is in the repository's cache or on its remote, which is asked once.

    Raises:
        UserError: the remote does not answer.
    """
    try:
        status = repository.data_status(not_in_remote=True, remote_refresh=True)
    except Exception as error:  # a remote fails with whatever its library raises
        raise UserError(f"the remote does not answer: {error}") from None
    nowhere = {path.rstrip("/") for path in {*status.get("not_in_cache", [])} & {*status.get("not_in_remote", [])}}
    return lambda out: out["path"] not in nowhere


def _holds(cache: Path, md5: str) -> bool:
    """A folder whose list is damaged counts as held: that it is not is for DVC to see."""
    files = [of_file for _, of_file in listed_files(cache, md5)] if md5.endswith(DIRECTORY) else []
    return all(object_path(cache, each).is_file() for each in (md5, *files))
