"""What a colleague does, and where the team's remote is."""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from dvc.exceptions import DvcException
from trivial_pipeline import Repository

from selectq.errors import UserError
from selectq.team.verify import verify

Found = TypeVar("Found")
PATIENCE_S = 200


@dataclass(frozen=True)
class Remote:
    """Where a remote is, and the settings that reach it: name -> value."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)

    def add_to(self, repository: Repository) -> None:
        with repository.opened() as dvc:
            with dvc.config.edit("repo") as shared:
                shared["remote"]["team"] = {"url": self.url}
                shared["core"]["remote"] = "team"
            with dvc.config.edit("local") as own:
                own["remote"]["team"] = self.settings


def verified(repository: Repository, mend: bool = False) -> str:
    """What `selectq verify` prints, in this process."""
    with contextlib.chdir(repository.root), contextlib.redirect_stdout(io.StringIO()) as said:
        verify(Path(), mend=mend)
    return said.getvalue()


def damage_found(repository: Repository, mend: bool = False) -> str:
    """What `selectq verify` prints before it refuses, and the refusal."""
    said = io.StringIO()
    with contextlib.chdir(repository.root), contextlib.redirect_stdout(said), pytest.raises(UserError) as refused:
        verify(Path(), mend=mend)
    return f"{said.getvalue()}{refused.value}"


def complaint(repository: Repository) -> str:
    """Why `dvc repro` fails."""
    with pytest.raises(DvcException) as failed:
        repository.repro()
    return f"{failed.value} {failed.value.__cause__}"


def selectq(repository: Repository, *arguments: str) -> str:
    done = repository.selectq(*arguments)
    assert done.status == 0, done.out + done.err
    return done.out + done.err


def message(repository: Repository, *arguments: str) -> str:
    """The one line with which a command refuses."""
    refused = repository.selectq(*arguments)
    assert refused.status == 2 and "Traceback" not in refused.err, refused.out + refused.err
    return refused.err.splitlines()[-1]


def wait_for(value: Callable[[], Found], what: str) -> Found:
    """The first value that is true; `what` has not happened if none comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := value()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found
