"""Kills the process that it is loaded into, at a chosen one of the moments at which that process changes the disk.

Python loads this module as it starts where this folder is on PYTHONPATH; FAULT_* in the environment say what to do
(`fault_events.Moment` writes them). Every such moment is written to FAULT_LOG as a line, event and path, before it.
"""

import os
import re
import signal
import sys
import time

CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
"""Audit events that change the disk, beside `open` for writing and those of shutil."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def is_wanted(process: str) -> bool:
    """Whether this is the process to kill: `dvc`, or `stage`."""
    command = sys.orig_argv[1:3]
    return command == ["-m", "dvc"] if process == "dvc" else bool(command) and command[0].startswith("stages/")


def changed_path(event: str, arguments: tuple) -> str:
    """The path that an event is about to change; empty where it changes none."""
    if event == "open":
        writes = isinstance(arguments[2], int) and arguments[2] & WRITING
        return os.fsdecode(arguments[0]) if writes and not isinstance(arguments[0], int) else ""
    if event in CHANGES or event.startswith("shutil."):
        return os.fsdecode(arguments[1 if event in ("os.rename", "os.link") else 0])
    return ""


class Watch:
    """The moments so far, and what happens at the one that was chosen."""

    def __init__(self, environment: os._Environ) -> None:
        self._folder = environment["FAULT_FOLDER"] + os.sep
        self._on = re.compile(environment["FAULT_PATH"])
        self._count_down = int(environment["FAULT_NUMBER"])
        self._how = environment["FAULT_HOW"]
        self._log = os.open(environment["FAULT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._started = environment["FAULT_PROCESS"] == "stage"
        self._killer = start_killer(float(environment["FAULT_DELAY_S"])) if self._how == "after" else None

    def __call__(self, event: str, arguments: tuple) -> None:
        """The audit hook: DVC's own moments count once it has started a stage."""
        self._started = self._started or event == "subprocess.Popen"
        path = changed_path(event, arguments) if self._started else ""
        path = os.path.abspath(path) if path else ""
        if not self._on.search(path) or not path.startswith(self._folder) or "__pycache__" in path:
            return
        os.write(self._log, f"{event} {path}\n".encode())
        self._count_down -= 1
        if self._count_down == 0:
            self._strike(path)

    def _strike(self, path: str) -> None:
        if self._killer is not None:
            os.write(self._killer, b"x")
            return
        if self._how == "emptied":
            os.truncate(path, 0)
        os.kill(os.getpid(), signal.SIGKILL)


def start_killer(delay: float) -> int:
    """A process that kills this one `delay` seconds after a byte is written to the descriptor that is returned."""
    told, tell = os.pipe()
    victim = os.getpid()
    if os.fork():
        os.close(told)
        return tell
    os.close(tell)
    if os.read(told, 1):
        end = time.perf_counter() + delay
        while time.perf_counter() < end:
            pass
        os.kill(victim, signal.SIGKILL)
    os._exit(0)


if "FAULT_LOG" in os.environ and is_wanted(os.environ["FAULT_PROCESS"]):
    sys.addaudithook(Watch(os.environ))
