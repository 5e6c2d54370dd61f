"""The committed studies, read once."""

from pathlib import Path

import pytest

from selectq.claims.settings import Measured, Setting, read_settings


@pytest.fixture(scope="session")
def runs(checkout: Path) -> dict[Setting, Measured]:
    return read_settings(checkout)
