"""Merging `dvc.lock` stage by stage: git's merge driver, so that branches that ran different stages do not conflict."""

import sys
from pathlib import Path
from typing import Any

from selectq.config.load import read_yaml, write_yaml
from selectq.files import write_bytes

Lock = dict[str, Any]


def merge_files(base: Path, ours: Path, theirs: Path) -> None:
    """Merge three locks into `ours`, and say which stages have to run, or be restored, again.

    Args:
        base (BASE): the common ancestor's
        ours (OURS): the checked-out branch's, which is written
        theirs (THEIRS): the other branch's

    Raises:
        UserError: a file is no YAML mapping.
    """
    locks = [read_yaml(path) if path.stat().st_size else {} for path in (base, ours, theirs)]
    merged, disputed = merge_locks(*locks)
    write_bytes(ours, write_yaml(merged).encode())
    if disputed:
        print(f"dvc.lock: both branches ran {', '.join(disputed)}; `dvc repro` settles it", file=sys.stderr)


def merge_locks(base: Lock, ours: Lock, theirs: Lock) -> tuple[Lock, list[str]]:
    """The merged lock, and the stages that both sides changed, each in its way.

    Those are left out: what they come to under the merged parameters is what `dvc repro` finds, in the run cache where
    some branch ran it so.
    """
    sides = [lock.get("stages", {}) for lock in (base, ours, theirs)]
    stages, disputed = {}, []
    for name in {**sides[1], **sides[2]}:
        before, left, right = (side.get(name) for side in sides)
        if left != right and before not in (left, right):
            disputed.append(name)
            continue
        chosen = right if left == before else left
        if chosen is not None:
            stages[name] = chosen
    return {"schema": ours.get("schema") or theirs.get("schema"), "stages": stages}, disputed
