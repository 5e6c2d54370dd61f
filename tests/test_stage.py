"""How a stage ends: one line and an exit status for what the user can put right, a traceback for a bug."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selectq.errors import UserError
from selectq.files import written_whole
from selectq.stage import run


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
from selectq.files import written_whole
from selectq.stage import run

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
