"""What all tests share."""

import gc
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_once import FOLDER

CHECKOUT = Path(__file__).resolve().parents[1]

if importlib.util.find_spec("selectq") is None:
    sys.path.insert(0, str(CHECKOUT / "src"))


LONGEST = (
    "tests/stages/test_whole_pipeline.py",
    "tests/stages/",
    "tests/cli/test_real_images.py",
    "tests/team/",
    "tests/parity/",
    "tests/test_reruns.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files go first: begun last, one would keep a single process busy while the others have nothing left.

    With `--no-loadscope-reorder` alone: otherwise the files with the most tests go first, and they are short ones.
    """
    items.sort(key=lambda item: [not item.nodeid.startswith(files) for files in LONGEST])


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again and again."""
    gc.enable()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """A folder for `made_once`, which the processes that this one starts find in their environment."""
    gc.disable()  # while tests are collected
    if FOLDER in os.environ:
        return
    os.environ[FOLDER] = tempfile.mkdtemp()
    config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(FOLDER)))


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


@pytest.fixture
def algorithms_put_back() -> Iterator[None]:
    """Whether torch's algorithms are deterministic is the process's to say: other tests find it as it was."""
    torch = importlib.import_module("torch")  # here: not every test needs it
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def kernels() -> None:
    """Both libraries of kernels; the tests that need them are skipped where there is no compiler."""
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler here")
    build = importlib.import_module("selectq.kernels.build")  # here: the path to the package is set above
    build.load_kernels("batch_norm.cpp", "common.hpp")
    build.load_kernels("fake_quantize.cpp", "common.hpp")
