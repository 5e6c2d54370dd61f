"""Processes of others."""

import os
import time


def wait_until_gone(pid: int) -> None:
    """Raise a TimeoutError if a process goes on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise TimeoutError(f"process {pid} goes on")
