"""Training stages that several processes run together, as torchrun starts them."""

from pathlib import Path

import pytest
import torch
from workspaces import Workspace

from selectq.files import read_tensors

CHANGES = {"model": {"arguments": {"dropout": 0.0}}, "finetune": {"batch_size": 32}, "qat_training": {"batch_size": 32}}
"""Dropout is the one thing that each process draws for itself. One step: batch norms of so few values make of rounding,
1e-5 after it, a hundredth after the next.
"""


def weights(workspace: Workspace, path: str) -> torch.Tensor:
    tensors, _ = read_tensors(workspace.folder / path)
    return torch.cat([tensor.double().flatten() for tensor in tensors.values()])


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    alone, together = (Workspace(tmp_path / name).write(CHANGES) for name in ("alone", "together"))
    alone.run("finetune_fp32")
    together.train_together(2, "finetune_fp32")
    assert alone.outputs().keys() == together.outputs().keys(), "written once, and as a whole"
    one, two = (weights(workspace, "models/fp32.safetensors") for workspace in (alone, together))
    assert 0 < (two - one).norm() < 1e-3 * one.norm(), "up to rounding"

    (together.folder / "models/fp32.safetensors").write_bytes(alone.outputs()["models/fp32.safetensors"])
    for name in ("dw", "clf"):
        alone.run("qat", "--name", name)
        together.train_together(2, "qat", "--name", name)
        one, two = (weights(workspace, f"models/quantized/{name}.safetensors") for workspace in (alone, together))
        assert (two - one).norm() < 1e-3 * one.norm(), name
    assert alone.outputs().keys() == together.outputs().keys()
    assert {path.suffix for path in (together.folder / ".checkpoints").iterdir()} == {".lock"}
