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
    processes = _Processes()
    try:
        yield processes.run
    except BaseException:
        processes.end()
        raise


class _Processes:
    """Those under way, each in a group of its own with all that it starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> int:
        """As `Run`."""
        with self._lock:
            if self._ended:
                return ENDED
            process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0)
            self._under_way.add(process)
        status = process.wait()
        with self._lock:
            self._under_way.discard(process)
        return status

    def end(self) -> None:
        """End all that is under way; nothing can be started any more."""
        with self._lock:
            self._ended = True
            for process in self._under_way:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
