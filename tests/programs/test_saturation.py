"""The layer that saturates where the processor has no 8-bit dot products."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from selectq.export.onnx import open_session
from selectq.programs.saturation import (
    activations,
    cpu_flags,
    describe_cpu,
    has_vnni,
    saturates,
    saturating_layer,
)


def test_eight_bits_can_saturate_and_seven_cannot() -> None:
    """What 16 bits hold of the sum of two of the made-up layer's products."""
    weights = next(each for each in onnx.load_from_string(saturating_layer()).graph.initializer if each.name == "codes")
    pair = 2 * int(onnx.numpy_helper.to_array(weights).min())
    assert pair * 255 > 2**15 - 1 > pair * 127


def test_seven_bit_activations_are_exact_on_any_processor() -> None:
    assert not saturates(127)


def test_our_sessions_are_exact_on_any_processor() -> None:
    for level in (127, 255):
        (found,) = open_session(saturating_layer(), optimise=True).run(None, {"x": activations(level)})
        assert (found == level).all()


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


def test_flags_of_an_arm_processor() -> None:
    assert "i8mm" in cpu_flags("processor\t: 0\nFeatures\t: fp asimddp i8mm\n")


WITHOUT_VNNI = """
from selectq.export.onnx import open_session
from selectq.programs.saturation import activations, describe_cpu, saturates, saturating_layer
print(describe_cpu()["u8s8_saturates"], saturates(127))
(found,) = open_session(saturating_layer(), optimise=True).run(None, {"x": activations(255)})
print((found == 255).all())
"""


@pytest.mark.slow
def test_an_emulated_processor_without_vnni_saturates_at_eight_bits_and_not_at_seven(checkout: Path) -> None:
    """ONNX Runtime chooses its kernels by what the processor says of itself: here, AVX2 and no more."""
    emulator = shutil.which("qemu-x86_64")
    if not emulator or platform.machine() != "x86_64":
        pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user): no processor without VNNI to try")
    path = [str(checkout / "src"), *filter(None, sys.path)]
    program = f"import sys; sys.path[:0] = {path!r}\n{WITHOUT_VNNI}"
    python = Path(sys.executable).resolve()  # the emulator does not follow a virtual environment
    found = subprocess.run(
        [emulator, "-cpu", "Haswell", python, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True", "False", "True"], "the last: with the option against it"
