"""Processes of this machine that end with the command that started them."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Run = Callable[[list[str], Path, Mapping[str, str]], int]
"""Runs a command in a folder and an environment, its output passed through; its exit status."""

ENDED = 128 + signal.SIGTERM
"""The exit status of a process that was ended, as shells give it."""


@contextlib.contextmanager
def ended_together() -> Iterator[Run]:
    """Runs commands, from many threads. Where an exception leaves the block, all under way end and no other begins."""
    under_way: set[subprocess.Popen[bytes]] = set()
    lock, ended = threading.Lock(), threading.Event()

    def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> int:
        with lock:
            if ended.is_set():
                return ENDED
            # A group of its own, with all that it starts.
            process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0)
            under_way.add(process)
        status = process.wait()
        with lock:
            under_way.discard(process)
        return status

    try:
        yield run
    except BaseException:
        with lock:
            ended.set()
            ending = [*under_way]
            for process in ending:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        for process in ending:  # DVC locks what its stages write until it has gone
            process.wait()
        raise
