"""`dvc.lock` without what cannot be had.

Where a stage's inputs are those of the lock, DVC looks for the outputs that the lock names and for no others: if no
cache holds them, as after another machine's run, it runs the stage, although its run cache may hold what this machine
made of the same inputs. Without the stage's entry it looks there.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from selectq.params.load import read_yaml
from selectq.team.verify import DIRECTORY, file_md5, object_path


def servable_lock(lock: Path, cache: Path) -> str:
    """The text of a lock, without the stages one of whose outputs is neither in the cache nor where the lock lies.

    Raises:
        UserError: the lock cannot be read.
    """
    document = read_yaml(lock)
    stages: dict[str, Any] = document["stages"]

    def can_be_had(out: dict[str, str]) -> bool:
        path = lock.parent / out["path"]
        return _holds(cache, out) or (path.is_file() and file_md5(path) == out["md5"])

    held = {name: stage for name, stage in stages.items() if all(map(can_be_had, stage.get("outs", [])))}
    written: str = yaml.safe_dump({**document, "stages": held}, sort_keys=False)
    return lock.read_text(encoding="utf-8") if held == stages else written


def _holds(cache: Path, out: dict[str, str]) -> bool:
    path = object_path(cache, out["md5"])
    if not path.is_file():
        return False
    listed = json.loads(path.read_text(encoding="utf-8")) if out["md5"].endswith(DIRECTORY) else []
    return all(object_path(cache, entry["md5"]).is_file() for entry in listed)
