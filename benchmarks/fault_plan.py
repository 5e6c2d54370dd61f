"""The rows of the table: which faults, how often."""

from collections.abc import Iterator
from dataclasses import replace

from fault_disk import (
    cached_objects,
    can_mount,
    on_full_disk,
    twice_at_once,
    unmount,
    with_flipped_bit,
    with_other_times,
    with_read_only_cache,
)
from fault_inputs import hostile_inputs
from fault_kills import (
    LOCK_S,
    Moment,
    at_moments,
    at_random,
    interrupt,
    kill_alone,
    kill_together,
    terminate,
    while_writing_lock,
    with_emptied_rwlock,
    with_empty_run_folder,
)
from fault_trials import Fault, Site, after_mending, after_repro

KILLS_OF_EACH_STAGE = 2
KILLS_OF_EACH_KIND = 4
"""At least; `qat@clf` and `qat@dwpw_asym` are of one kind."""

CHEAP_KINDS = ("download", "ptq", "table", "card")
"""The stages that are over in seconds."""

WRITERS = {"download": 8, "ptq": 8, "drift": 4, "convert": 2, "parity": 4, "table": 14, "card": 8}
"""Trials that kill a stage of this kind as it writes."""

DVC_WRITES = {
    "/files/md5/": "the cache",
    "/runs/": "the run cache",
    "/data/": "the workspace's outputs",
    "/dvc.lock$": "dvc.lock",
    r"/\.dvc/tmp/": "its own locks",
}
"""What the path of a file that DVC changes is like, and what that file belongs to."""

KILLS_PER_DVC_FILE = 10
MEND = ", then `selectq verify --mend`"


def plan(site: Site, share: float) -> list[Fault]:
    """Every fault that can be tried here, with `share` of the trials, at least one."""
    return [replace(fault, trials=max(1, round(share * fault.trials))) for fault in _faults(site)]


def _faults(site: Site) -> Iterator[Fault]:
    kinds: dict[str, list[str]] = {}
    for stage in site.seconds:
        kinds.setdefault(stage.partition("@")[0], []).append(stage)
    cheap = {kind: kinds[kind][0] for kind in CHEAP_KINDS}
    stages = list(cheap.values())
    yield from _kills_at_random(kinds)
    yield from _kills_of_writers(kinds)
    yield from _kills_of_dvc(cheap)
    yield from _signals(stages)
    yield from _disks(stages, [stage for stage in stages if cached_objects(site.traces[stage])])
    yield from hostile_inputs(site.demo)


def _kills_at_random(kinds: dict[str, list[str]]) -> Iterator[Fault]:
    for kind, stages in kinds.items():
        trials = max(KILLS_OF_EACH_KIND, KILLS_OF_EACH_STAGE * len(stages))
        name = f"SIGKILL of DVC and its stage at a random moment: {kind}"
        yield Fault(name, at_random(stages, kill_together), trials, after_repro)


def _kills_of_writers(kinds: dict[str, list[str]]) -> Iterator[Fault]:
    for kind, trials in WRITERS.items():
        inject = at_moments(kinds[kind][-1], Moment("stage"), trials)
        yield Fault(f"SIGKILL of a stage as it changes the disk: {kind}", inject, trials, after_repro)


def _kills_of_dvc(cheap: dict[str, str]) -> Iterator[Fault]:
    kept, written = cheap["download"], cheap["card"]
    for path, what in DVC_WRITES.items():
        inject = at_moments(kept, Moment("dvc", path), KILLS_PER_DVC_FILE)
        yield Fault(f"SIGKILL of DVC just before or after a change to {what}", inject, KILLS_PER_DVC_FILE, after_repro)
    weak = {
        f"SIGKILL of DVC within {LOCK_S} s of its opening dvc.lock to rewrite it": (while_writing_lock(written), 10),
        "SIGKILL of DVC when it has emptied .dvc/tmp/rwlock to rewrite it": (with_emptied_rwlock(written), 5),
        "SIGKILL of DVC when it has made a folder in the run cache, empty yet": (with_empty_run_folder(kept), 3),
    }
    for ending, judge in {"": after_repro, MEND: after_mending}.items():
        for name, (inject, trials) in weak.items():
            yield Fault(name + ending, inject, trials, judge)


def _signals(stages: list[str]) -> Iterator[Fault]:
    yield Fault("SIGKILL of DVC alone at a random moment", at_random(stages, kill_alone), 14, after_repro)
    yield Fault("Ctrl-C (SIGINT to DVC and its stage) at a random moment", at_random(stages, interrupt), 8, after_repro)
    yield Fault("SIGTERM to DVC at a random moment", at_random(stages, terminate), 8, after_repro)


def _disks(stages: list[str], kept: list[str]) -> Iterator[Fault]:
    """`kept` are the stages that have outputs in the cache; git keeps what the others write."""
    yield Fault("two `dvc repro` at once", twice_at_once(stages), 6, after_repro)
    yield Fault("file times days to years ahead or back", with_other_times(stages), 6, after_repro)
    yield Fault(f"a bit flipped in the cache{MEND}", with_flipped_bit(kept), 6, after_mending)
    if not can_mount():
        print("left out: full disk, read-only cache (no mount namespace here)")
        return
    yield Fault("full disk, then space is freed", on_full_disk(stages), 8, after_repro, unmount)
    yield Fault("read-only cache, then no longer", with_read_only_cache(kept), 4, after_repro)
