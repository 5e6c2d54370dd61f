"""Whether a CPU has what the goals are set for."""

from pathlib import Path

import pytest
import torch
from machine import has_vnni, machine_slug


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512_vnni", True), ("avx2 avx_vnni", True), ("avx2 avx512f vnni", False)]
)
def test_vnni_is_read_from_the_flags(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"model name : Some CPU\nflags\t: {flags}\n\nmodel name : Other\n", encoding="utf-8")
    monkeypatch.setattr("selectq.programs.saturation.CPU_INFO", cpu_info)
    assert has_vnni() is expected


def test_file_name_has_the_versions_that_are_asked_for() -> None:
    slug = machine_slug(torch.device("cpu"), ["onnxruntime", "torch"])
    assert [part.partition("-")[0] for part in slug.split("_")[1:]] == ["onnxruntime", "torch"]
