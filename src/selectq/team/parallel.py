"""Stages of one workspace at the same time, on one machine: several `dvc repro`, each of other stages.

DVC runs one stage after another, but its processes may share a workspace: each locks what its stage reads and writes.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.dvc import COMMAND, cache_folder, opened, run_dvc, stage_environment
from selectq.team.leftovers import LOCK_FILE, mend_leftovers
from selectq.team.pipeline import dependencies
from selectq.team.processes import Run, ended_together
from selectq.team.servable_lock import had_from_cache, servable_lock

LONGEST = "qat@"
"""Begin the names of the stages that begin the longest branches: begun last, one would run alone in the end."""


def fan_out_here(checkout: Path, jobs: int, threads: int | None) -> None:
    """Run the checkout's pipeline to its end, as `repro_in_parallel` does; one `dvc repro` does the rest.

    Raises:
        UserError: stages failed (the others have run), or DVC is at work here.
    """
    for line in mend_leftovers(checkout):
        print(line, flush=True)
    lock = checkout / LOCK_FILE
    if lock.exists():
        write_bytes(lock, servable_lock(lock, had_from_cache(cache_folder(checkout), checkout)).encode())
    environment = stage_environment(checkout)
    repro_in_parallel(checkout, jobs, environment, threads)
    if run_dvc(checkout, ("repro",), environment):
        raise UserError("a stage that needs several configurations failed, see above; the others have run")


def repro_in_parallel(folder: Path, jobs: int, environment: Mapping[str, str], threads: int | None = None) -> None:
    """Run the independent stages of a checkout or workspace, `jobs` configurations at a time.

    First comes what all configurations need; what needs several of them is left to a `dvc repro` afterwards. `threads`
    are those of each configuration's stages; None: their share of the cores.

    Raises:
        UserError: stages failed (the others have run).
    """
    with opened(folder) as repository:
        trunk, branches = plan(dependencies(repository))
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    shared = {**environment, "OMP_NUM_THREADS": str(threads)}
    pool = ThreadPoolExecutor(jobs)
    with ended_together() as run:
        try:
            # The trunk too in a thread: an exception here, such as Ctrl-C's, finds it under way and ends it.
            failures = [*pool.map(lambda stages: _repro(run, folder, stages, environment), [trunk] if trunk else [])]
            if not any(failures):
                failures += pool.map(lambda stages: _repro(run, folder, stages, shared), branches)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    if any(failures):
        raise UserError(f"{'; '.join(filter(None, failures))}; the other stages have run")


def _repro(run: Run, folder: Path, stages: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Run these stages alone: DVC otherwise checks what they depend on, and fails where another process reads that.

    Returns what went wrong, if anything.
    """
    status = run([*COMMAND, "--wait-for-lock", "repro", "--single-item", *stages], folder, environment)
    return f"dvc repro {' '.join(stages)} failed (exit status {status}), see above" if status else None


def plan(upstream: Mapping[str, set[str]]) -> tuple[list[str], list[list[str]]]:
    """What all configurations need, and the stages that belong to one of them, or to none and need none; each in order.

    `upstream` is stage -> the stages it depends on; `drift@dw` belongs to the configuration `dw`.
    """
    order = list(TopologicalSorter(upstream).static_order())
    own = {stage: stage.partition("@")[2] for stage in order if "@" in stage}
    trunk: set[str] = set()
    for stage in reversed(order):
        if stage in own or stage in trunk:
            trunk |= upstream[stage] - own.keys()
    branches: dict[str, list[str]] = {}
    for stage in order:
        if stage in own or (stage not in trunk and upstream[stage] <= trunk):
            branches.setdefault(own.get(stage, stage), []).append(stage)
    retrained_first = sorted(branches.values(), key=lambda stages: not stages[0].startswith(LONGEST))
    return [stage for stage in order if stage in trunk], retrained_first
