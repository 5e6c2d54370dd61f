"""A training run's state on disk, so that a killed run goes on where it was."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from selectq.files import read_tensors, sha256, write_tensors
from selectq.networks.checkpoint import load_tensors

Row = dict[str, Any]


def learning_curve(name: str, history: list[Row]) -> pd.DataFrame:
    """Loss and accuracy (percent) of each epoch and split, as the table that is kept; without training it is empty."""
    columns = ["config", "epoch", "split", "loss", "top1"]
    return pd.DataFrame(history, columns=columns[1:]).assign(config=name)[columns]


def run_key(parameters: Any, inputs: Iterable[Path]) -> str:
    """A hash of all that decides a run: parameters, input files, the package's code, torch's version."""
    package = Path(__file__).parents[1]
    code = (path for pattern in ("*.py", "*.cpp", "*.hpp") for path in package.rglob(pattern))
    files = [*inputs, *sorted(code)]
    parts = [repr(parameters), torch.__version__, *map(sha256, files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class TrainingState:
    """The resumable state of the run that writes `output`, kept in `.checkpoints/` until it is done.

    Random numbers need no saving: every epoch draws its own from the seed and its index.
    """

    def __init__(self, output: Path, key: str) -> None:
        self._stem = str(output.with_suffix("")).replace("/", "-")
        self._path = Path(".checkpoints") / f"{self._stem}-{key}.safetensors"

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, history: list[Row]) -> None:
        """Write the state after an epoch, whole or not at all."""
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if value is not None}
        write_tensors(self._path, tensors, {"history": history})

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Row]:
        """Load the state of the last whole epoch, if there is one; the history of the epochs done so far."""
        if not self._path.exists():
            return []
        tensors, metadata = read_tensors(self._path)
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".")
                slots.setdefault(int(index), {})[slot] = value
        parameters = {name.removeprefix("network."): v for name, v in tensors.items() if name.startswith("network.")}
        load_tensors(network, parameters)
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter, slot in optimizer.state.items():  # fused optimisers read both as they lie in memory
            for name, value in slot.items():
                if value.shape == parameter.shape:
                    slot[name] = torch.empty_like(parameter).copy_(value)
        return list(metadata["history"])

    def discard(self) -> None:
        """Remove the state, and those left by runs that wrote the same output under other parameters."""
        for path in self._path.parent.glob(f"{self._stem}-*.safetensors"):
            path.unlink()


class Unsaved(TrainingState):
    """A state that never touches the disk: a killed run starts anew."""

    def __init__(self) -> None:
        super().__init__(Path("unsaved"), "")

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, history: list[Row]) -> None:
        """Nothing is kept."""

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Row]:
        """Nothing was kept."""
        return []
