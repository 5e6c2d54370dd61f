"""The part of a file name that says where and with what it was measured."""

import re

import pytest
import torch
from machine import cpu_slug, machine_slug, release, slug

FLAGS = "fpu sse2 avx2 avx512f avx_vnni avx512_vnni"


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("AMD EPYC", FLAGS, "amd-epyc-2c-avx512-vnni"),
        ("AMD EPYC 9B14 96-Core Processor", "avx2 avx512f", "amd-epyc-9b14-2c-avx512f"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "avx2", "intel-xeon-platinum-8481c-2c-avx2"),
        ("13th Gen Intel(R) Core(TM) i7-1360P", "avx2 avx_vnni", "13th-gen-intel-core-i7-1360p-2c-avx-vnni"),
        ("Old CPU", "sse2", "old-2c"),
    ],
)
def test_cpu_slug(name: str, flags: str, expected: str) -> None:
    assert cpu_slug({"model name": name, "flags": flags}, threads=2) == expected


def test_cpu_slug_reads_the_flags_of_arm() -> None:
    assert cpu_slug({"model name": "Neoverse-V1", "Features": "fp asimd asimddp"}, 64) == "neoverse-v1-64c-asimddp"


def test_cpu_slug_falls_back_on_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert cpu_slug({}, threads=8) == "arm64-8c"


@pytest.mark.parametrize(
    ("text", "expected"), [("NVIDIA H200", "nvidia-h200"), ("  A -- b_C/../d ", "a-b-c-d"), ("2.15.0", "2-15-0")]
)
def test_slug(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_release_leaves_out_the_build() -> None:
    assert [release("2.15.0+cu130"), release("0.29.2")] == ["2.15.0", "0.29.2"]


def test_machine_slug_is_a_short_stable_file_name_with_versions() -> None:
    text = machine_slug(torch.device("cpu"))
    assert text == machine_slug(torch.device("cpu"))
    assert re.fullmatch(r"[a-z0-9-]+_torch-[0-9.]+_torchvision-[0-9.]+", text)
    assert len(text) < 100
