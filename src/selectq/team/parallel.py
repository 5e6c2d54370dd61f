"""Stages of one workspace at the same time, on one machine: several `dvc repro`, each of other stages.

DVC runs one stage after another, but its processes may share a workspace: each locks what its stage reads and writes.
"""

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

from selectq.errors import UserError
from selectq.team.dvc import ask_dvc, run_dvc


def repro_in_parallel(folder: Path, jobs: int, environment: Mapping[str, str]) -> None:
    """Run the pipeline's independent stages, `jobs` configurations at a time, each with its share of the cores.

    First comes what all configurations need; what needs several of them is left to a `dvc repro` afterwards.

    Raises:
        UserError: stages failed (the others have run).
    """
    trunk, branches = plan(dependencies(ask_dvc(folder, "dag", "--dot")))
    if trunk:
        _repro(folder, trunk, environment)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    shared = {**environment, "OMP_NUM_THREADS": str(threads)}
    with ThreadPoolExecutor(jobs) as pool:
        failures = [error for error in pool.map(lambda stages: _failure(folder, stages, shared), branches) if error]
    if failures:
        raise UserError(f"{'; '.join(failures)}; the other stages have run")


def _failure(folder: Path, stages: Iterable[str], environment: Mapping[str, str]) -> str | None:
    try:
        _repro(folder, stages, environment)
    except UserError as error:
        return str(error)
    return None


def _repro(folder: Path, stages: Iterable[str], environment: Mapping[str, str]) -> None:
    # Single items: else DVC also checks what they depend on, and fails where another process reads that.
    status = run_dvc(folder, ("--wait-for-lock", "repro", "--single-item", *stages), environment)
    if status:
        raise UserError(f"dvc repro {' '.join(stages)} failed (exit status {status}), see above")


def plan(upstream: Mapping[str, set[str]]) -> tuple[list[str], list[list[str]]]:
    """What all configurations need, and the stages that belong to one of them, or to none and need none; each in order.

    Args:
        upstream: stage -> the stages it depends on; `drift@dw` belongs to the configuration `dw`.
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
    return [stage for stage in order if stage in trunk], list(branches.values())


def dependencies(dot: str) -> dict[str, set[str]]:
    """Stage -> the stages it depends on, from what `dvc dag --dot` prints."""
    upstream: dict[str, set[str]] = {}
    for before, after in re.findall(r'"([^"]+)"(?:\s*->\s*"([^"]+)")?', dot):
        upstream.setdefault(before, set())
        if after:
            upstream.setdefault(after, set()).add(before)
    return upstream
