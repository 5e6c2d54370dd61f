"""Which ones are taken of many."""

import pytest

from selectq.data.evenly import evenly


@pytest.mark.parametrize(
    ("count", "expected"), [(5, [0, 2, 4, 6, 8]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_evenly(count: int, expected: list[int]) -> None:
    assert list(range(10))[evenly(10, count)] == expected
