"""Jobs as processes of this machine. They end with the command that started them."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from selectq.team.job import Engine, work

ENDED = 128 + signal.SIGTERM
"""The exit status of a process that was ended, as shells give it."""


@contextmanager
def local_engine() -> Iterator[Engine]:
    """An engine on this machine. Where an exception leaves the block, jobs under way end and no other begins."""
    processes = _Processes()
    try:
        yield partial(work, run=processes.run)
    except BaseException:
        processes.end()
        raise


class _Processes:
    """Those under way, started by many threads, each in a group of its own with all that it starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, command: list[str], folder: Path, environment: Mapping[str, str], log: IO[str]) -> int:
        """As `selectq.team.job.Run`."""
        with self._lock:
            if self._ended:
                return ENDED
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
            self._under_way.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._under_way.discard(process)

    def end(self) -> None:
        """End all that is under way; nothing can be started any more."""
        with self._lock:
            self._ended = True
            for process in self._under_way:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
