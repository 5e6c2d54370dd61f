"""Programs of `torch.export`, in PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators that the program consists of
from numpy.typing import NDArray
from torch import Tensor, fx

from selectq.errors import UserError, first_line
from selectq.programs.manifest import Manifest
from selectq.programs.torch_archive import MANIFEST_FILE, checked_archive


@dataclass(frozen=True)
class TorchProgram:
    """A `.pt2` file of selectq's as a module."""

    manifest: Manifest
    module: fx.GraphModule

    @torch.no_grad()
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, 3, H, W) -> float32 (N, classes)."""
        return self.module(torch.from_numpy(pixels)).numpy()

    @torch.no_grad()
    def stored(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Everything that is stored as integers and read again, in order of execution."""
        recorder = _Recorder(self.module)
        recorder.run(torch.from_numpy(pixels))
        return [values.numpy() for values in recorder.stored]


class _Recorder(fx.Interpreter):
    """Runs a program operator by operator; keeps what it dequantizes, without parameters and pixels."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.stored: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        """Run an operator."""
        result = super().run_node(n)
        dequantizes = n.target is torch.ops.quantized_decomposed.dequantize_per_tensor.default
        if dequantizes and isinstance(n.args[0], fx.Node) and n.args[0].op == "call_function":
            self.stored.append(result)
        return result


def open_program(path: Path) -> TorchProgram:
    """Open a `.pt2` file.

    Raises:
        UserError: no `torch.export` program, not of selectq's making, or something in it could run.
    """
    archive = checked_archive(path)
    extra_files = {MANIFEST_FILE: ""}
    try:
        program = torch.export.load(archive, extra_files=extra_files)
    except Exception as error:  # torch raises anything on archives that are not its own
        raise UserError(f"{path}: not a torch.export program that can be loaded ({first_line(error)})") from None
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    return TorchProgram(Manifest.from_json(extra_files[MANIFEST_FILE], str(path)), module)
