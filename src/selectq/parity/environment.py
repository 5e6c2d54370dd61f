"""Where a measurement ran: versions and the processor's instruction sets, nothing that names a machine."""

import importlib.metadata
import platform
from typing import Any

from selectq.programs.saturation import cpu_flags, read_cpu_info

PACKAGES = ("torch", "onnxruntime", "executorch")
INSTRUCTION_SETS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)
"""Instruction sets that decide how fast, and on x86 how exactly, products of integers are added; Linux's names."""


def describe_environment() -> dict[str, Any]:
    """`versions` of Python and of the runtimes that are installed, `architecture`, `instructions` (of the above)."""
    flags = cpu_flags(read_cpu_info())
    return {
        "versions": {"python": platform.python_version(), **_package_versions()},
        "architecture": platform.machine(),
        "instructions": [name for name in INSTRUCTION_SETS if name in flags],
    }


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # ExecuTorch is optional
            continue
    return found
