"""The hardware and the versions that a measurement belongs to, as a part of a file name."""

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import torch

from selectq.programs import saturation

VECTOR_FLAGS = ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimddp")
"""Instruction sets that decide the speed of training or INT8, the most telling first."""

NOISE = r"\((r|tm)\)|@.*|\b(cpu|processor|with|\d+-core)\b"
"""What vendors put into a CPU's name that does not tell it from another."""


def machine_slug(device: torch.device, packages: Sequence[str] = ("torch", "torchvision")) -> str:
    """Hardware and versions, such as `amd-epyc-2c-avx512-vnni_torch-2.15.0_torchvision-0.29.2`."""
    hardware = cpu_slug(_this_cpu(), torch.get_num_threads())
    if device.type == "cuda":
        hardware = slug(torch.cuda.get_device_name(device))
    versions = [f"{package}-{release(version(package))}" for package in packages]
    return "_".join([hardware, *versions])


def has_vnni() -> bool:
    """Whether this CPU multiplies and adds four pairs of 8-bit integers in one step."""
    return saturation.has_vnni(saturation.read_cpu_info())


def cpu_slug(info: Mapping[str, str], threads: int) -> str:
    """The CPU's name, the number of threads and the most telling instruction set; `info` as in /proc/cpuinfo."""
    name = info.get("model name") or platform.processor() or platform.machine()
    known = [flag for flag in VECTOR_FLAGS if flag in cpu_flags(info)][:1]
    return slug(" ".join([re.sub(NOISE, " ", name.lower()), f"{threads}c", *known]))


def cpu_flags(info: Mapping[str, str]) -> frozenset[str]:
    """The instruction sets that `info`, as in /proc/cpuinfo, lists."""
    return frozenset(info.get("flags", info.get("Features", "")).split())


def slug(text: str) -> str:
    """Lower case letters, digits and single hyphens."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def release(package_version: str) -> str:
    """A version without its build: 2.15.0+cu130 is 2.15.0."""
    return package_version.partition("+")[0]


def _this_cpu() -> dict[str, str]:
    return _cpu_info(saturation.read_cpu_info())


def _cpu_info(text: str) -> dict[str, str]:
    """Key -> value of the first core in the text of /proc/cpuinfo."""
    first_core = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first_core.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
