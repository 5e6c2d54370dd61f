"""What the tests of the kernels share."""

import shutil

import pytest

from selectq.kernels.build import load_kernels
from selectq.kernels.float_step import FloatStep
from selectq.kernels.quantized_step import QuantizedStep


@pytest.fixture(scope="session")
def kernels() -> None:
    """Both libraries of kernels; the tests that need them are skipped where there is no compiler."""
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler here")
    load_kernels(*FloatStep.SOURCES)
    load_kernels(*QuantizedStep.SOURCES)
