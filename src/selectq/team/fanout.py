"""The pipeline's independent stages at the same time: on one machine, or on a Ray cluster.

`dvc repro` runs one stage after another. Here every stage runs as a job of its own in a clone of the commit, as soon as
the stages that it depends on are done; what it wrote reaches the others through the cache (on one machine) or the
remote (on many). No job commits anything: in the end one `dvc repro` in the checkout finds every stage's outputs in the
cache and writes one lock.
"""

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.params.load import PARAMS_FILE
from selectq.team.dvc import ask_dvc, cache_folder, opened, run_dvc, settings, stage_environment
from selectq.team.job import Engine, Job, Outcome
from selectq.team.leftovers import LOCK_FILE
from selectq.team.parallel import dependencies
from selectq.team.servable_lock import had_from_cache, had_from_remote, servable_lock
from selectq.team.share import default_remote, share

WORKERS = Path(".workspaces") / "fanout"
SETTINGS = ".dvc/config.local"
COMMITTED = ("params.yaml", "dvc.yaml", "stages", "src")


def fan_out(checkout: Path, engine: Engine, jobs: int, template: Job) -> None:
    """Run every stage, `jobs` at a time, then bring the checkout to the result.

    Args:
        checkout: a git repository whose code and parameters are committed.
        engine: does the jobs.
        jobs: how many at a time.
        template: the job of every stage but for the stage's name.

    Raises:
        UserError: no remote to push to, or stages failed (the others have run).
    """
    if template.push:
        share(checkout)  # what has run already is not to run again elsewhere
    run_stages(checkout, engine, jobs, template)
    if LOCK_FILE in template.files:  # so that `dvc repro` finds what the jobs made
        write_bytes(checkout / LOCK_FILE, template.files[LOCK_FILE].encode())
    if run_dvc(checkout, ("repro", *(("--pull",) if template.push else ())), stage_environment(checkout)):
        raise UserError("the checkout could not be brought to the jobs' result, see above")


def run_stages(workspace: Path, engine: Engine, jobs: int, template: Job) -> None:
    """Run every stage of the pipeline in `workspace`, `jobs` at a time, each as `template`.

    Raises:
        UserError: stages failed (the others have run); the ends of their logs are printed.
    """
    upstream = dependencies(ask_dvc(workspace, "dag", "--dot"))
    outcomes = run_all(upstream, engine, jobs, template)
    failed = [outcome for outcome in outcomes.values() if not outcome.done]
    for outcome in failed:
        print(f"--- {outcome.stage}, the end of its log:\n{outcome.log}", flush=True)
    if failed:
        left = len(upstream) - len(outcomes)
        names = ", ".join(outcome.stage for outcome in failed)
        raise UserError(f"failed: {names} (logs above); {left} stages that need them were left; run again to go on")


def run_all(upstream: Mapping[str, set[str]], engine: Engine, jobs: int, template: Job) -> dict[str, Outcome]:
    """Do every stage's job once those it depends on are done; the outcomes, without stages behind a failed one."""
    outcomes: dict[str, Outcome] = {}
    running: dict[Future[Outcome], str] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while True:
            done = {stage for stage, outcome in outcomes.items() if outcome.done}
            started = {*outcomes, *running.values()}
            for stage in sorted(stage for stage, needed in upstream.items() if stage not in started and needed <= done):
                running[pool.submit(engine, template.of(stage))] = stage
            if not running:
                return outcomes
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(future)
                outcomes[stage] = future.result()
                said = "done" if outcomes[stage].done else "FAILED"
                print(f"[{len(outcomes)}/{len(upstream)}] {said}: {stage}", flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever is interrupted here begins no further job


def committed_head(checkout: Path) -> str:
    """The commit that jobs run.

    Raises:
        UserError: the checkout is no git repository, or code or parameters differ from the commit.
    """
    head = _git(checkout, "rev-parse", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--", *COMMITTED).splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed)
        raise UserError(f"not committed: {names}; jobs run the commit, so commit first")
    return head


def _git(checkout: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise UserError(f"git {arguments[0]} in {checkout}: {answer.stderr}")
    return answer.stdout.rstrip()


def local_template(checkout: Path, workspace: Path, threads: int) -> Job:
    """A job on this machine: a clone that shares the checkout's cache, with the parameters and the lock of `workspace`.

    That is a study's, or the checkout itself.
    """
    cache = cache_folder(checkout)
    files = {
        SETTINGS: settings({"cache": {"dir": str(cache), "type": "reflink,hardlink,copy"}}),
        str(PARAMS_FILE): (workspace / PARAMS_FILE).read_text(encoding="utf-8"),
    }
    lock = workspace / LOCK_FILE
    if lock.exists():
        files[LOCK_FILE] = servable_lock(lock, had_from_cache(cache, workspace))
    return Job(
        stage="",
        repository=str(checkout.resolve()),
        commit=committed_head(checkout),
        folder=str((checkout / WORKERS / workspace.relative_to(checkout).name).resolve()),
        files=files,
        environment=_own(stage_environment(checkout)),
        threads=threads,
        push=False,
    )


def remote_template(checkout: Path, repository: str, folder: str, threads: int) -> Job:
    """A job on some machine: a clone of `repository` that pulls what it needs from the remote, and pushes its outputs.

    It reaches the remote with the checkout's own settings (`.dvc/config.local`).

    Raises:
        UserError: there is no remote, or it does not answer.
    """
    with opened(checkout) as dvc:
        default_remote(dvc)
    settings, lock = checkout / SETTINGS, checkout / LOCK_FILE
    files = {SETTINGS: settings.read_text(encoding="utf-8")} if settings.exists() else {}
    if lock.exists():
        files[LOCK_FILE] = servable_lock(lock, had_from_remote(checkout))
    return Job(
        stage="",
        repository=repository,
        commit=committed_head(checkout),
        folder=folder,
        files=files,
        environment={},
        threads=threads,
        push=True,
    )


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    """What a stage's environment adds to this process's."""
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}
