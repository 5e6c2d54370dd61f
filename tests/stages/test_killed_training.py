"""Training that is killed, and two trainers at once."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from workspaces import Workspace

from selectq.files import only_writer

EPOCHS = 12
LONGER = {
    "finetune": {"epochs": EPOCHS},
    "qat": {"clf": {"epochs": EPOCHS}},
    "qat_training": {"range_epochs": 2.5, "optimizer": "adam"},
}


def kill_after_first_epoch(workspace: Workspace, process: subprocess.Popen[str]) -> None:
    """SIGKILL a trainer as soon as its first epoch's state is on disk."""
    states = workspace.folder / ".checkpoints"
    deadline = time.monotonic() + 120
    while not list(states.glob("models-*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still at work"
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "output"),
    [
        (("finetune_fp32",), "models/fp32.safetensors"),
        (("qat", "--name", "clf"), "models/quantized/clf.safetensors"),
    ],
)
def test_killed_training_ends_in_the_same_bytes(stage: tuple[str, ...], output: str, tmp_path: Path) -> None:
    whole, killed = Workspace(tmp_path / "whole").write(LONGER), Workspace(tmp_path / "killed").write(LONGER)
    if stage[0] == "qat":
        for workspace in (whole, killed):
            workspace.run("finetune_fp32")
    whole.run(*stage)

    before = killed.outputs()
    kill_after_first_epoch(killed, killed.start(*stage))
    assert killed.outputs() == before, "nothing half-written"
    said = killed.run(*stage)
    assert f"epoch 1/{EPOCHS}" not in said and f"epoch {EPOCHS}/{EPOCHS}" in said, "it went on where it was"
    assert output in killed.outputs()
    assert killed.outputs() == whole.outputs()
    assert {path.suffix for path in (killed.folder / ".checkpoints").iterdir()} <= {".lock", ".partial"}


@pytest.mark.parametrize(
    ("stage", "output"),
    [
        (("finetune_fp32",), "models/fp32.safetensors"),
        pytest.param(("qat", "--name", "dw"), "models/quantized/dw.safetensors", marks=pytest.mark.slow),
    ],
)
def test_second_writer_of_an_output_is_refused(stage: tuple[str, ...], output: str, workspace: Workspace) -> None:
    with only_writer(Path(output), locks=workspace.folder / ".checkpoints"):
        message = workspace.refusal(*stage)
    assert message == f"{output}: another process (pid {os.getpid()}) is writing it; wait for it or stop it"
    assert workspace.outputs() == {}


@pytest.mark.slow
def test_terminated_training_leaves_nothing_half_written(workspace: Workspace) -> None:
    workspace.write(LONGER)
    process = workspace.start("finetune_fp32")
    while not (workspace.folder / ".checkpoints").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert workspace.outputs() == {}
    assert not list(workspace.folder.rglob("*.partial"))
