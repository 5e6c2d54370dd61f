"""Fixtures of the stage tests."""

from pathlib import Path

import pytest
from workspaces import CHAIN, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with short parameters."""
    return Workspace(tmp_path).write()


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which all stages have run."""
    workspace = Workspace(tmp_path_factory.mktemp("chain")).write()
    workspace.run_all(*CHAIN)
    return workspace
