"""What a colleague does, and where the team's remote is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from trivial_pipeline import Repository

Found = TypeVar("Found")
PATIENCE_S = 200


@dataclass(frozen=True)
class Remote:
    """Where a remote is, and the settings that reach it: name -> value."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)

    def add_to(self, repository: Repository) -> None:
        assert repository.dvc("remote", "add", "--force", "--default", "team", self.url).returncode == 0
        for name, value in self.settings.items():
            assert repository.dvc("remote", "modify", "--local", "team", name, value).returncode == 0


def selectq(repository: Repository, *arguments: str) -> str:
    done = repository.selectq(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def message(repository: Repository, *arguments: str) -> str:
    """The one line with which a command refuses."""
    refused = repository.selectq(*arguments)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr, refused.stdout + refused.stderr
    return refused.stderr.splitlines()[-1]


def wait_for(value: Callable[[], Found], what: str) -> Found:
    """The first value that is true; `what` has not happened if none comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := value()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found
