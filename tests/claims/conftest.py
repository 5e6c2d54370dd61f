"""The committed studies, read once."""

from pathlib import Path

import pytest

from selectq.claims.measured import Measured, read_runs


@pytest.fixture(scope="session")
def runs(checkout: Path) -> dict[str, Measured]:
    return read_runs(checkout)
