"""The layer that saturates where the processor has no 8-bit dot products."""

import numpy as np
import pytest

from selectq.programs.saturation import describe_cpu, exact_sum, has_vnni, saturated_sum, saturates


def test_eight_bits_can_saturate_and_seven_cannot() -> None:
    """What 16-bit sums of two products do to the made-up layer, by arithmetic."""
    assert 2 * 255 * 127 > 2**15 - 1 > 2 * 127 * 127
    assert not np.array_equal(saturated_sum(255), exact_sum(255))
    assert np.array_equal(saturated_sum(127), exact_sum(127))
    assert (exact_sum(255).max(), saturated_sum(255).max()) == (255, 129)


def test_seven_bit_activations_are_exact_on_any_processor() -> None:
    assert not saturates(127)


def test_layer_is_exact_with_vnni() -> None:
    cpu = describe_cpu()
    if not cpu["vnni"]:
        pytest.skip("this processor has no VNNI: whether it saturates is measured, not expected")
    assert not cpu["u8s8_saturates"]


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx2 avx512_vnni", True), ("fpu avx_vnni", True), ("fpu avx2 avx512f", False)]
)
def test_vnni_is_read_from_the_flags(flags: str, expected: bool) -> None:
    assert has_vnni(f"processor : 0\nflags\t\t: {flags}\n") is expected
    assert not has_vnni("")
