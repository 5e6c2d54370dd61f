"""Fixtures of the stage tests."""

from pathlib import Path

import pytest
from workspaces import Workspace, run_chain


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with short parameters."""
    return Workspace(tmp_path).write()


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which all stages have run."""
    workspace = Workspace(tmp_path_factory.mktemp("chain")).write()
    run_chain(workspace.run)
    return workspace
