"""Compiling the kernels: once, and with a reason where it cannot be done."""

import shutil
from pathlib import Path

import pytest

from selectq.errors import UserError
from selectq.kernels import build
from selectq.kernels.build import KernelsUnavailableError, load_kernels
from selectq.kernels.quantized_step import QuantizedStep


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    load_kernels.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "selectq"


def test_no_compiler_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelsUnavailableError, match=r"^there is no C\+\+ compiler 'no-such-compiler'; install g\+\+"):
        load_kernels(*QuantizedStep.SOURCES)


def test_switched_off_is_a_reason_and_compiles_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(build.SWITCH, "off")
    with pytest.raises(KernelsUnavailableError, match=r"^SELECTQ_KERNELS=off$"):
        load_kernels(*QuantizedStep.SOURCES)
    assert not empty_cache.exists()


def test_switch_says_on_or_off_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(build.SWITCH, "0")
    with pytest.raises(UserError, match=r"^SELECTQ_KERNELS: '0'; allowed: on, off$") as caught:
        load_kernels(*QuantizedStep.SOURCES)
    assert not isinstance(caught.value, KernelsUnavailableError)  # which would train on, silently obeying


def test_failing_compiler_is_a_reason_and_leaves_nothing(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho warning: so what >&2\necho kernels.cpp:1: error: no such luck >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(KernelsUnavailableError, match=r"error: no such luck$"):
        load_kernels(*QuantizedStep.SOURCES)
    assert not list(empty_cache.iterdir())


def test_damaged_library_is_a_reason(empty_cache: Path) -> None:
    key = build._key(list(QuantizedStep.SOURCES))
    empty_cache.mkdir()
    (empty_cache / f"fake_quantize-{key}.so").write_bytes(b"nothing")
    with pytest.raises(KernelsUnavailableError, match=r"fake_quantize-.*\.so"):
        load_kernels(*QuantizedStep.SOURCES)


def test_key_depends_on_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = build._key(list(QuantizedStep.SOURCES))
    for name in QuantizedStep.SOURCES:
        (tmp_path / name).write_text((build.FOLDER / name).read_text() + "// another\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert build._key(list(QuantizedStep.SOURCES)) != before


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler here")
def test_compiled_once(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.cpp").write_text("int tiny() { return 1; }\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    for said in ("compiling tiny.cpp (once, a quarter of a minute) ...\n", ""):
        load_kernels.cache_clear()  # as in a new process
        load_kernels("tiny.cpp")
        assert capsys.readouterr().err == said
    assert len(list(empty_cache.iterdir())) == 1
