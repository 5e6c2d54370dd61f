"""The pipeline's independent stages at the same time, on a cluster.

`dvc repro` runs one stage after another. Here every stage runs as a job of its own in a clone of the commit, as soon as
the stages that it depends on are done; what it wrote reaches the others through the remote. No job commits anything: in
the end one `dvc repro` in the checkout finds every stage's outputs there and writes one lock.
"""

import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.dvc import opened, run_dvc, stage_environment
from selectq.team.job import Engine, Job, Outcome
from selectq.team.leftovers import LOCK_FILE
from selectq.team.pipeline import dependencies, folder_inputs
from selectq.team.servable_lock import had_from_remote, servable_lock
from selectq.team.share import cheap_stages, default_remote, share

SETTINGS = ".dvc/config.local"
COMMITTED = ("params.yaml", "dvc.yaml", "stages", "src")


def fan_out(checkout: Path, engine: Engine, jobs: int, template: Job) -> None:
    """Run every stage that takes long, `jobs` at a time, then bring the checkout to the result.

    The checkout's code and parameters are committed; `template` is every stage's job, but for its name and inputs.

    Raises:
        UserError: no remote to push to, or stages failed (the others have run; the ends of their logs are printed).
    """
    share(checkout)  # what has run already is not to run again elsewhere
    with opened(checkout) as repository:
        needed, inputs = dependencies(repository), folder_inputs(repository)
    cheap = cheap_stages(checkout)  # DVC's run cache does not keep what they write: they would run here again
    own = {stage for stage in needed if stage.partition("@")[0] not in cheap}
    upstream = {stage: needed[stage] & own for stage in own}
    outcomes = run_all(upstream, lambda stage: engine(template.of(stage, inputs[stage])), jobs)
    failed = [outcome for outcome in outcomes.values() if not outcome.done]
    for outcome in failed:
        print(f"--- {outcome.stage}, the end of its log:\n{outcome.log}", flush=True)
    if failed:
        left = len(upstream) - len(outcomes)
        names = ", ".join(outcome.stage for outcome in failed)
        raise UserError(f"failed: {names} (logs above); {left} stages that need them were left; run again to go on")
    if LOCK_FILE in template.files:  # so that `dvc repro` finds what the jobs made
        write_bytes(checkout / LOCK_FILE, template.files[LOCK_FILE].encode())
    if run_dvc(checkout, ("repro", "--pull"), stage_environment(checkout)):
        raise UserError("the checkout could not be brought to the jobs' result, see above")


def run_all(upstream: Mapping[str, set[str]], do: Callable[[str], Outcome], jobs: int) -> dict[str, Outcome]:
    """Do every stage once those it depends on are done; the outcomes, without stages behind a failed one."""
    outcomes: dict[str, Outcome] = {}
    running: dict[Future[Outcome], str] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while True:
            done = {stage for stage, outcome in outcomes.items() if outcome.done}
            started = {*outcomes, *running.values()}
            for stage in sorted(stage for stage, needed in upstream.items() if stage not in started and needed <= done):
                running[pool.submit(do, stage)] = stage
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


def job_template(checkout: Path, repository: str, folder: str, threads: int) -> Job:
    """A job on some machine: a clone of `repository` that pulls what it needs from the remote, and pushes its outputs.

    It reaches the remote with the checkout's own settings (`.dvc/config.local`).

    Raises:
        UserError: code or parameters are not committed, there is no remote, or it does not answer.
    """
    commit = committed_head(checkout)
    settings, lock = checkout / SETTINGS, checkout / LOCK_FILE
    files = {SETTINGS: settings.read_text(encoding="utf-8")} if settings.exists() else {}
    with opened(checkout) as dvc:
        default_remote(dvc)
        if lock.exists():
            files[LOCK_FILE] = servable_lock(lock, had_from_remote(dvc))
    return Job("", (), repository, commit, folder, files, threads)
