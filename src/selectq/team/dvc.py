"""Running DVC: that of this Python, with stages that find this Python and the data."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from selectq.errors import UserError
from selectq.team.processes import ended_together

if TYPE_CHECKING:
    from dvc.repo import Repo

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


@contextmanager
def opened(folder: Path) -> Iterator["Repo"]:
    """DVC's own view of a repository, in this process: each process of DVC costs a second.

    Raises:
        UserError: DVC is not installed, or it fails; carries DVC's own message.
    """
    require_dvc()
    from dvc.exceptions import DvcException  # noqa: PLC0415  # half a second
    from dvc.repo import Repo  # noqa: PLC0415

    try:
        with Repo(os.fspath(folder)) as repository:
            yield repository
    except DvcException as error:
        raise UserError(f"dvc: {error}") from None


@contextmanager
def held(folder: Path) -> Iterator["Repo"]:
    """As `opened`, and no other DVC begins: what one step has read of the pipeline serves the next one too.

    Raises:
        UserError: as of `opened`, or another DVC is at work.
    """
    with opened(folder) as repository:
        from dvc.repo import lock_repo  # noqa: PLC0415

        with lock_repo(repository):
            yield repository


def cache_folder(checkout: Path) -> Path:
    """Where the cache of a checkout is: an absolute path. The checkout need not be under git.

    Raises:
        UserError: DVC is not installed, or cannot read its configuration.
    """
    require_dvc()
    from dvc.config import Config, ConfigError  # noqa: PLC0415  # half a second

    folder = os.path.abspath(checkout / ".dvc")
    try:
        named: str | None = Config(folder)["cache"].get("dir")
    except ConfigError as error:
        raise UserError(f"dvc: {error}") from None
    return Path(named or os.path.join(folder, "cache"))


def settings(sections: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a configuration file of DVC, with quotes where a value (a path with `#` in it) needs them."""
    from configobj import ConfigObj  # noqa: PLC0415  # comes with DVC

    lines: list[str] = ConfigObj({name: dict(values) for name, values in sections.items()}).write()
    return "\n".join(lines) + "\n"


def run_dvc(folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """Run a DVC command in `folder`, its output passed through; its exit status."""
    with ended_together() as run:  # ending DVC alone would leave the stage that it runs behind
        return run([*COMMAND, *arguments], folder, environment)
