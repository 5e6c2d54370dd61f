"""Running DVC: that of this Python, in a process group of its own, with stages that find this Python and the data."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from selectq.errors import UserError

COMMAND = (sys.executable, "-m", "dvc")


def require_dvc() -> None:
    """Raise a UserError if DVC is not installed."""
    if importlib.util.find_spec("dvc") is None:
        raise UserError(f"DVC is not installed for {sys.executable}; install selectq[pipeline], or run `make setup`")


def stage_environment(checkout: Path) -> dict[str, str]:
    """The stages' environment: this Python first, and data looked up in the checkout and in SELECTQ_DATA.

    A relative path in the parameters means the checkout. It is found there through SELECTQ_DATA and not rewritten,
    because a rewritten parameter would not match the checkout's own runs in the cache.
    """
    folders = [str(checkout), *filter(None, os.environ.get("SELECTQ_DATA", "").split(os.pathsep))]
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "SELECTQ_DATA": os.pathsep.join(map(os.path.abspath, folders)),
        "PATH": os.pathsep.join(path),
    }


def ask_dvc(folder: Path, *arguments: str) -> str:
    """What a DVC command prints in `folder`.

    Raises:
        UserError: DVC is not installed, or the command fails; carries DVC's own message.
    """
    require_dvc()
    answer = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise UserError(f"dvc {' '.join(arguments)}: {answer.stderr.strip() or answer.stdout.strip()}")
    return answer.stdout.strip()


def run_dvc(folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """Run a DVC command in `folder`, its output passed through; its exit status."""
    # A process group of its own: ending DVC alone would leave the stage that it runs behind.
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            return process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
