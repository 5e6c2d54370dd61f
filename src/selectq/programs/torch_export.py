"""Programs of `torch.export`, in PyTorch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators that the program consists of
from numpy.typing import NDArray
from torch import nn

from selectq.errors import UserError
from selectq.programs.manifest import Manifest
from selectq.programs.torch_archive import MANIFEST_FILE, checked_archive


@dataclass(frozen=True)
class TorchProgram:
    """A `.pt2` file of selectq's as a module."""

    manifest: Manifest
    module: nn.Module

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, 3, H, W) -> float32 (N, classes)."""
        with torch.no_grad():
            return self.module(torch.from_numpy(pixels)).numpy()


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
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a torch.export program that can be loaded ({reason})") from None
    return TorchProgram(Manifest.from_json(extra_files[MANIFEST_FILE], str(path)), program.module())
