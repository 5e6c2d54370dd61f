"""Stages of one workspace at the same time, on one machine: several `dvc repro`, each of other stages.

DVC runs one stage after another, but its processes may share a workspace: each locks what its stage reads and writes.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.clock import Clock
from selectq.team.dvc import COMMAND, cache_folder, opened, run_dvc, stage_environment
from selectq.team.leftovers import LOCK_FILE, mend_leftovers
from selectq.team.pipeline import dependencies
from selectq.team.processes import Run, ended_together
from selectq.team.servable_lock import had_from_cache, servable_lock

Stages = tuple[str, ...]

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


def repro_in_parallel(
    folder: Path,
    jobs: int,
    environment: Mapping[str, str],
    threads: int | None = None,
    before: Mapping[str, float] | None = None,
) -> None:
    """Run the independent stages of a checkout or workspace, `jobs` configurations at a time.

    First comes what all configurations need; what needs all of them is left to a `dvc repro` afterwards. `threads` are
    those of each configuration's stages; None: their share of the cores. `before` is stage -> seconds of an earlier
    run, from which the time left is estimated.

    Raises:
        UserError: stages failed (the others have run).
    """
    with opened(folder) as repository:
        trunk, branches = plan(dependencies(repository))
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    shared = {**environment, "OMP_NUM_THREADS": str(threads)}
    clock = Clock(folder, (*([tuple(trunk)] if trunk else []), *branches), jobs, before or {})

    def repro(stages: Stages, environment: Mapping[str, str]) -> str | None:
        failure = _repro(run, folder, stages, environment)
        print(clock.said_when_ended(stages), flush=True)
        return failure

    pool = ThreadPoolExecutor(jobs)
    with ended_together() as run:
        try:
            # The trunk too in a thread: an exception here, such as Ctrl-C's, finds it under way and ends it.
            failures = [*pool.map(lambda stages: repro(stages, environment), [tuple(trunk)] if trunk else [])]
            if not any(failures):
                failures += _in_turn(branches, jobs, lambda stages: pool.submit(repro, stages, shared))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    if any(failures):
        raise UserError(f"{'; '.join(filter(None, failures))}; the other stages have run")


def _in_turn(
    branches: Mapping[Stages, set[Stages]], jobs: int, begin: Callable[[Stages], "Future[str | None]"]
) -> list[str | None]:
    """Begin branches in their order, each as soon as what it waits for is done: what went wrong in each that ended."""
    waiting, running, done = dict(branches), dict["Future[str | None]", Stages](), set[Stages]()
    ended: list[str | None] = []
    while True:
        ready = [stages for stages, before in waiting.items() if before <= done]
        for stages in ready[: jobs - len(running)]:
            del waiting[stages]
            running[begin(stages)] = stages
        if not running:  # what is left waits for what failed
            return ended
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            stages = running.pop(future)
            ended.append(future.result())
            if ended[-1] is None:
                done.add(stages)


def _repro(run: Run, folder: Path, stages: Stages, environment: Mapping[str, str]) -> str | None:
    """Run these stages alone: DVC otherwise checks what they depend on, and fails where another process reads that.

    Returns what went wrong, if anything.
    """
    status = run([*COMMAND, "--wait-for-lock", "repro", "--single-item", *stages], folder, environment)
    return f"dvc repro {' '.join(stages)} failed (exit status {status}), see above" if status else None


def plan(upstream: Mapping[str, set[str]]) -> tuple[list[str], dict[Stages, set[Stages]]]:
    """What all configurations need, and branches -> those that each waits for, in the order in which to begin them.

    `upstream` is stage -> the stages it depends on; `drift@dw` belongs to the configuration `dw`. A branch has the
    stages of one configuration, or one that belongs to none and needs none. One more has what needs some configurations
    and not all: it is begun as soon as they are done, and they are begun first. A configuration may need that in turn.
    """
    order = list(TopologicalSorter(upstream).static_order())
    own = {stage: stage.partition("@")[2] for stage in order if "@" in stage}
    needs: dict[str, set[str]] = {}
    for stage in order:
        needs[stage] = {own[stage]} if stage in own else set().union(*(needs[each] for each in upstream[stage]))
    trunk = {before for stage in own for before in upstream[stage] if not needs[before]}
    some = tuple(stage for stage in order if stage not in own and 0 < len(needs[stage]) < len({*own.values()}))
    awaited = set().union(*(needs[stage] for stage in some))
    grouped: dict[str, list[str]] = {}
    for stage in order:
        if stage in own or (stage not in trunk and upstream[stage] <= trunk):
            grouped.setdefault(own.get(stage, stage), []).append(stage)
    first = {tuple(stages): set[Stages]() for name, stages in grouped.items() if name in awaited}
    others = [tuple(stages) for name, stages in grouped.items() if name not in awaited]
    last = {
        stages: {some} if any(upstream[stage] & {*some} for stage in stages) else set[Stages]()
        for stages in sorted(others, key=lambda stages: not stages[0].startswith(LONGEST))
    }
    between: dict[Stages, set[Stages]] = {some: {*first}} if some else {}
    return [stage for stage in order if stage in trunk], {**first, **between, **last}
