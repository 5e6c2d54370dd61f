"""A `.pte` file that its runtime cannot bear is refused in one line, whether the runtime raises or aborts."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from exported_networks import exported

from selectq.errors import UserError
from selectq.export import pte
from selectq.files import METADATA_KEY
from selectq.programs.program import open_program


def runtime(load_program: Callable[[bytes], object]) -> Callable[[str], object]:
    """What stands for ExecuTorch's runtime, which takes seconds to import."""
    return lambda _: SimpleNamespace(load_program=load_program)


def refuse(_: object) -> object:
    raise RuntimeError("Failed to load method forward, error: 0x:20")


@pytest.mark.parametrize(
    ("load_program", "message"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), "m.pte: damaged: ExecuTorch ends with SIGKILL as it runs it"),
        (refuse, "m.pte: not an ExecuTorch program that can be loaded (Failed to load method forward, error: 0x:20)"),
        (
            lambda _: SimpleNamespace(method_names={METADATA_KEY, "forward"}, load_method=refuse),
            "m.pte: not an ExecuTorch program that can be loaded (Failed to load method forward, error: 0x:20)",
        ),
        (lambda _: SimpleNamespace(method_names={"forward"}), "m.pte: an ExecuTorch program, but without selectq's "),
    ],
    ids=["aborts", "raises", "raises at a method", "another's"],
)
def test_file_that_cannot_be_loaded_is_refused(
    load_program: Callable[[bytes], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pte, "_runtime", runtime(load_program))
    Path("m.pte").write_bytes(b"damaged")
    with pytest.raises(UserError) as refusal:
        open_program(Path("m.pte"))
    assert str(refusal.value).startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize("position", [4, 1165, 1425])
def test_damaged_file_is_refused(position: int, tmp_path: Path) -> None:
    content = bytearray(exported("plain").path(".pte").read_bytes())
    content[position] ^= 255
    (tmp_path / "m.pte").write_bytes(content)
    with pytest.raises(UserError, match=r"m\.pte: "):
        open_program(tmp_path / "m.pte")
