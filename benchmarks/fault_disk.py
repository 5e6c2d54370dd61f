"""Faults of disks and clocks: full, read-only, a bit flipped, file times moved; and two runs at once."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from fault_demo import Demo, Traces
from fault_trials import MissedError, NotSurvivedError, Site, last_line, wait_until_gone

from selectq.team.cache import OBJECTS

DISK_BYTES = 2**30
DAY_S = 86_400
MOST_DAYS = 3_650
TRACEBACK = "Traceback (most recent call last)"

Inject = Callable[[Site, int], None]


def can_mount() -> bool:
    """Whether this process may mount, as it may in a mount namespace of its own."""
    tried = subprocess.run(["mount", "--bind", "/proc", "/proc"], capture_output=True, check=False)
    if tried.returncode == 0:
        _mount_tool("umount", "/proc")
    return tried.returncode == 0


def on_full_disk(stages: list[str]) -> Inject:
    """A fault: a stage runs on a disk with room for a random part of what it and DVC write; then space is freed."""

    def inject(site: Site, number: int) -> None:
        stage = stages[number % len(stages)]
        wanted = sum(_size(site.demo.checkout / path) for path in site.traces[stage].outputs)
        _mount_tool("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(site.demo.checkout))
        site.put_back()
        site.forget(stage)
        filler = site.demo.checkout / "filler"
        _leave_free(filler, site.chance.randrange(2 * wanted))
        _expect_refusal(site.demo, stage, "No space left on device")
        filler.unlink()

    return inject


def unmount(site: Site) -> None:
    """Take the disk that was filled away; the demo as it was before appears from under it."""
    if site.demo.checkout.is_mount():
        _mount_tool("umount", str(site.demo.checkout))


def with_read_only_cache(stages: list[str]) -> Inject:
    """A fault: a stage runs while DVC's cache is read-only; then it no longer is."""

    def inject(site: Site, number: int) -> None:
        stage = stages[number % len(stages)]
        site.forget(stage)
        cache = str(site.demo.cache)
        _mount_tool("mount", "--bind", cache, cache)
        try:
            _mount_tool("mount", "-o", "remount,bind,ro", cache)
            _expect_refusal(site.demo, stage, "Read-only file system")
        finally:
            _mount_tool("umount", cache)

    return inject


def with_flipped_bit(stages: list[str]) -> Inject:
    """A fault: a bit of an object in the cache is flipped, every other time in the workspace's copy too.

    `selectq verify` has to name it.
    """

    def inject(site: Site, number: int) -> None:
        objects = cached_objects(site.traces[stages[number % len(stages)]])
        damaged = site.demo.checkout / site.chance.choice(objects)
        copies = _same_content(site.demo, damaged) if number % 2 else []
        bit = site.chance.randrange(8 * damaged.stat().st_size)
        for path in (damaged, *copies):
            _flip(path, bit)
        said = site.demo.selectq("verify")
        if said.returncode != 2 or damaged.name not in said.stdout:
            raise NotSurvivedError(f"selectq verify does not name {damaged}: {last_line(said.stderr)}")

    return inject


def cached_objects(traces: Traces) -> list[Path]:
    """The files of a stage's outputs in the cache, without the lists of folders."""
    return [path for path in traces.cached if OBJECTS.name in path.parts and path.suffix != ".dir"]


def with_other_times(stages: list[str]) -> Inject:
    """A fault: the times of every file are moved days to years ahead or back, as a wrong clock leaves them.

    A stage runs afterwards, every other time.
    """

    def inject(site: Site, number: int) -> None:
        if number % 2:
            site.forget(stages[number % len(stages)])
        seconds = DAY_S * site.chance.uniform(1, MOST_DAYS) * site.chance.choice([-1, 1])
        for path in site.demo.checkout.rglob("*"):
            before = path.stat()
            os.utime(path, (before.st_atime + seconds, before.st_mtime + seconds))

    return inject


def twice_at_once(stages: list[str]) -> Inject:
    """A fault: two `dvc repro` run a stage at once; one of them may be refused, without a traceback."""

    def inject(site: Site, number: int) -> None:
        site.forget(stages[number % len(stages)])
        other = Demo(site.demo.root)
        other.log = site.demo.log.with_name("log of the other")
        with site.demo.start() as one, other.start() as two:
            statuses = [one.wait(), two.wait()]
        for session in (one.pid, two.pid):
            wait_until_gone(session)
        for demo, status in zip((site.demo, other), statuses, strict=True):
            if status and (TRACEBACK in demo.said() or "ERROR" not in demo.said()):
                raise NotSurvivedError(f"one of two runs: {last_line(demo.said())}")

    return inject


def _expect_refusal(demo: Demo, stage: str, reason: str) -> None:
    with demo.start_stage(stage) as dvc:
        if dvc.wait() == 0:
            raise MissedError
    lines = demo.said().splitlines()
    if TRACEBACK in lines or not any(reason in line for line in lines):
        raise NotSurvivedError(f"{reason!r} is not said, or with a traceback: {last_line(demo.said())}")


def _leave_free(filler: Path, room: int) -> None:
    """Fill a disk up to `room` bytes."""
    disk = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - room)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _same_content(demo: Demo, stored: Path) -> list[Path]:
    """The workspace's files that hold what an object of the cache does."""
    content = stored.read_bytes()
    files = [demo.workspace / path for path in demo.result().files]
    return [path for path in files if path.stat().st_size == len(content) and path.read_bytes() == content]


def _flip(path: Path, bit: int) -> None:
    """Flip a bit and keep size, times and rights, as a failing disk does."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _mount_tool(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
