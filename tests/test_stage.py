"""How a stage ends: one line and an exit status for what the user can put right, a traceback for a bug."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selectq.errors import UserError
from selectq.files import only_writer, written_whole
from selectq.stage import run, stage


@pytest.fixture(autouse=True)
def _sigterm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_success_returns() -> None:
    done = []
    run(lambda: done.append(True))
    assert done == [True]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("seed: -1 is out of range"), 2, "error: seed: -1 is out of range\n"),
        (UserError("a message\nover  two lines\n"), 2, "error: a message over two lines\n"),
        (OSError(errno.ENOSPC, "No space left on device", "models/x"), 2, "error: models/x: No space left on device\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: an output: No space left on device\n"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "data/x"), 2, "error: data/x: Disk quota exceeded\n"),
        (PermissionError(errno.EACCES, "Permission denied", "data/x"), 2, "error: data/x: Permission denied\n"),
        (OSError(errno.EROFS, "Read-only file system", "data/x"), 2, "error: data/x: Read-only file system\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_exit_status_and_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(_raising(error))
    assert ended.value.code == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "No such file", "x")])
def test_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(_raising(error))


def test_full_disk_is_one_line_that_names_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        with written_whole(tmp_path / "fp32.safetensors") as partial:
            partial.symlink_to("/dev/full")
            partial.write_bytes(b"weights")

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr().err == f"error: {tmp_path}/fp32.safetensors: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


SLEEPING = """
import signal, sys, time
from pathlib import Path
from selectq.files import only_writer, written_whole
from selectq.stage import run, stage

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored

def main():
    with written_whole(Path("out")) as partial:
        partial.write_text("half")
        print("writing", flush=True)
        time.sleep(60)

run(main)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals, status: int) -> None:
    source = str(Path(__file__).resolve().parents[1] / "src")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{SLEEPING}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(number)
        assert process.wait(30) == status
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_stage_starts_without_torchs_compiler_and_has_it_when_asked() -> None:
    program = (
        "import _src, sys, torchvision.models; print('torch._dynamo' in sys.modules);"
        " import torch._dynamo.utils as utils; print(bool(utils.counters is not None), utils.__file__.endswith('.py'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[1] / "stages",
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert result.stdout.split() == ["False", "True", "True"]


def _load() -> Any:
    return SimpleNamespace(qat={"dw": "of dw"}, sweep=SimpleNamespace(names=("tensor", "channel")))


def _started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])


def test_stage_is_called_with_what_it_asks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    @stage(_load, writes="models/{name}-{seed}.pt", names="qat")
    def repeat(seed: int, params: Any, name: str, output: Path) -> None:
        given.extend((seed, params.qat[name], output))

    @stage(_load, names="sweep.names")
    def sweep(name: str) -> None:
        given.append(name)

    _started(monkeypatch, tmp_path, "--name", "dw", "--seed", "3")
    repeat()
    _started(monkeypatch, tmp_path, "--name", "channel")
    sweep()
    assert given == [3, "of dw", Path("models/dw-3.pt"), "channel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name", "absent"), "--name absent: no such configuration under sweep.names; allowed: tensor, channel"),
        ((), "the following arguments are required: --name"),
        (("--name", "tensor", "--other", "1"), "unrecognized arguments: --other 1"),
    ],
)
def test_stage_refuses_what_it_does_not_know(
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @stage(_load, writes="{name}.csv", names="sweep.names")
    def sweep(name: str) -> None:
        raise AssertionError(name)

    _started(monkeypatch, tmp_path, *arguments)
    with pytest.raises(SystemExit) as ended:
        sweep()
    assert ended.value.code == 2 and capsys.readouterr().err.strip().endswith(message)


def test_stage_is_the_only_writer_of_its_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several processes of one training the first is, and the others write nothing."""
    written = []

    @stage(_load, writes="models/fp32.pt")
    def train(output: Path) -> None:
        written.append(os.environ["RANK"])
        with pytest.raises(UserError, match="is writing it"), only_writer(output):
            pass

    _started(monkeypatch, tmp_path)
    monkeypatch.setenv("RANK", "0")
    train()
    with only_writer(Path("models/fp32.pt")):
        with pytest.raises(SystemExit):
            train()
        assert capsys.readouterr().err.startswith("error: models/fp32.pt: another process")
        monkeypatch.setenv("RANK", "1")
        train()
    assert written == ["0", "1"]


SCRIPT = """'''Says so.'''
from selectq.stage import stage

@stage(lambda: None)
def main(name: str) -> None:
    print("ran", name)
"""


def test_stage_script_runs_where_it_is_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1] / "src"))
    (tmp_path / "some.py").write_text(SCRIPT)
    command = [sys.executable, "some.py", "--name", "it"]
    ran, helped, imported = (
        subprocess.run(each, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
        for each in (command, [*command, "--help"], [sys.executable, "-c", "import some"])
    )
    assert ran == "ran it\n" and "Says so." in helped and imported == ""
