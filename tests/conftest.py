"""What all tests share."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

if importlib.util.find_spec("selectq") is None:
    sys.path.insert(0, str(CHECKOUT / "src"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of `dvc.yaml`."""
    return CHECKOUT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The first folder of real images that SELECTQ_DATA names; tests that need them are skipped without."""
    folders = os.environ.get("SELECTQ_DATA", "")
    if not folders:
        pytest.skip("SELECTQ_DATA is not set: no real images here")
    return Path(folders.split(os.pathsep)[0])
