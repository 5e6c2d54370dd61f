"""Reading everything that DVC keeps, to find what no longer is what its name says: DVC itself trusts its cache."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectq.config.load import read_yaml
from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.progress import progress
from selectq.team.cache import DIRECTORY, OBJECTS, file_md5, listed_files, object_md5, object_path
from selectq.team.dvc import cache_folder, opened
from selectq.team.leftovers import mend_leftovers

READ_ONLY = 0o444


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage wrote, in the workspace, and the hash that the lock has for it."""

    path: Path
    md5: str
    stage: str


@dataclass(frozen=True)
class Findings:
    """What is damaged: objects of the cache, and outputs in the workspace, with what each belongs to.

    `changed` outputs differ too, but were written to since: DVC sees that by itself. `missing` ones are neither in the
    workspace nor in the cache.
    """

    objects: dict[Path, list[Output]]
    outputs: list[Output]
    changed: list[Output]
    missing: list[Output]
    checked: int


def verify(checkout: Path, *, mend: bool = False) -> None:
    """Hash every object of the cache and every output in the workspace; name what is damaged, and what is missing.

    Nothing else is mended, not even outputs that somebody wrote since; but what a killed DVC left unreadable is put
    away too, see `mend_leftovers`.

    Args:
        checkout: a folder with a DVC repository.
        mend: delete what is damaged, or replace it where a healthy copy is at hand

    Raises:
        UserError: something is damaged or missing; says how to restore it. Or DVC is at work here.
    """
    for line in mend_leftovers(checkout) if mend else []:
        print(line)
    cache = Path(os.path.relpath(cache_folder(checkout)))
    findings = examine(checkout, cache)
    for path, outputs in findings.objects.items():
        print(f"damaged object: {path}{_whose(outputs)}")
    for output in findings.outputs:
        print(f"damaged output: {output.path} ({output.stage})")
    for output in findings.changed:
        print(f"changed, as DVC sees by itself: {output.path} (`dvc commit {output.stage}` would keep it)")
    if findings.missing:
        print(
            f"neither here nor in the cache: outputs of {', '.join(dict.fromkeys(o.stage for o in findings.missing))}"
        )
    damaged = f"{len(findings.objects)} objects of {cache} and {len(findings.outputs)} outputs are damaged"
    if not mend and (findings.objects or findings.outputs):
        raise UserError(
            f"{damaged}; `selectq verify --mend` removes them, then `selectq fetch` or `dvc repro` restores them"
        )
    for line in mend_all(cache, findings):
        print(line)
    if findings.missing and not mend:
        missing = f"{len(findings.missing)} outputs are missing"
        raise UserError(f"{missing}; `selectq fetch` gets what was shared, `dvc repro` makes the rest")
    if findings.objects or findings.outputs or findings.missing:
        print("now `selectq fetch` or `dvc repro` restores what is not there")
    else:
        print(f"{findings.checked} files hold what their hashes say")


def examine(checkout: Path, cache: Path) -> Findings:
    """Hash the cache's objects, and the outputs that the lock names and that are there.

    A link to an object that is gone counts as damaged.
    """
    outputs = list(locked_outputs(checkout, cache))
    objects = sorted(path for path in (cache / OBJECTS).glob("??/*") if path.is_file() and _names_a_hash(path))
    present = [output for output in outputs if output.path.is_file()]
    files = [*objects, *(output.path for output in present)]
    hashes = {path: file_md5(path) for path in progress(files, len(files), "verify", unit="file")}
    damaged = [path for path in objects if hashes[path] != object_md5(path)]
    differing = [output for output in present if hashes[output.path] != output.md5]
    changed = changed_outputs(checkout, differing)
    dangling = [output for output in outputs if output.path.is_symlink() and not output.path.exists()]
    held = {object_md5(path) for path in objects}
    return Findings(
        objects={path: [output for output in outputs if output.md5 == object_md5(path)] for path in damaged},
        outputs=[*(output for output in differing if output not in changed), *dangling],
        changed=changed,
        missing=[output for output in outputs if not output.path.exists() and output.md5 not in held],
        checked=len(hashes),
    )


def mend_all(cache: Path, findings: Findings) -> Iterator[str]:
    """Remove or replace what is damaged, and say what was done, line by line."""
    differing = {output.path for output in findings.outputs + findings.changed}
    for path, outputs in findings.objects.items():
        path.chmod(0o644)
        path.unlink()
        healthy = [output.path for output in outputs if output.path.is_file() and output.path not in differing]
        if healthy:
            write_bytes(path, healthy[0].read_bytes())
            path.chmod(READ_ONLY)
        yield f"{'replaced by ' + str(healthy[0]) if healthy else 'removed'}: {path}"
    for output in findings.outputs:
        output.path.unlink()
        stored = object_path(cache, output.md5)
        if stored.is_file():
            write_bytes(output.path, stored.read_bytes())
        yield f"{'replaced from the cache' if stored.is_file() else 'removed'}: {output.path}"


def changed_outputs(checkout: Path, differing: list[Output]) -> list[Output]:
    """Those that DVC knows to be other than the lock says: their size or time has changed."""
    if not differing:
        return []
    known = set()
    with opened(checkout) as repository:
        for out in repository.index.outs:
            path = checkout / out.def_path
            with contextlib.suppress(FileNotFoundError):  # DVC stops at a link to nothing
                if any(path in (one.path, *one.path.parents) for one in differing) and out.workspace_status():
                    known.add(path)
    return [output for output in differing if {output.path, *output.path.parents} & known]


def locked_outputs(checkout: Path, cache: Path) -> Iterator[Output]:
    """Every file and folder that `dvc.lock` says a stage wrote; what is in a folder only if the cache has its list."""
    lock = checkout / "dvc.lock"
    stages: dict[str, Any] = read_yaml(lock)["stages"] if lock.exists() else {}
    for name, stage in stages.items():
        for out in stage.get("outs", []):
            path, md5 = checkout / out["path"], out["md5"]
            yield Output(path, md5.removesuffix(DIRECTORY), name)
            if md5.endswith(DIRECTORY):
                yield from (Output(path / file, of_file, name) for file, of_file in listed_files(cache, md5))


def _names_a_hash(path: Path) -> bool:
    name = object_md5(path)
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def _whose(outputs: list[Output]) -> str:
    names = sorted({f"{output.path} ({output.stage})" for output in outputs})
    return f", which is {', '.join(names)}" if names else ", of an earlier run"
