"""Programs in ExecuTorch's runtime, with XNNPACK as on a phone."""

import contextlib
import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.files import METADATA_KEY
from selectq.programs.manifest import Manifest


@dataclass(frozen=True)
class ExecutorchProgram:
    """A `.pte` file of selectq's, loaded; `program` holds the memory that `method` computes in."""

    manifest: Manifest
    program: Any
    method: Any

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, 3, H, W), N at most 256, -> float32 (N, classes)."""
        return self.outputs(pixels)[0]

    def outputs(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Everything that the program puts out, the logits first; copied, since the next call overwrites them."""
        found = self.method.execute([torch.from_numpy(np.ascontiguousarray(pixels))])
        return [output.clone().numpy() for output in found]


TRIAL_SECONDS = 60
"""So long may the trial of a file take."""


def open_program(path: Path) -> ExecutorchProgram:
    """Open a `.pte` file.

    Raises:
        UserError: ExecuTorch is not installed, no ExecuTorch program, damaged, or not of selectq's making.
    """
    content = path.read_bytes()
    with _quiet():
        _runtime(str(path))
        _try_in_a_process_of_its_own(content, str(path))
    return load_program(content, str(path))


def _try_in_a_process_of_its_own(content: bytes, origin: str) -> None:
    """Load a program and run it once where it may abort: on damaged files the runtime does, instead of raising."""
    with warnings.catch_warnings(action="ignore"):  # on forking where there are threads
        process = os.fork()
    if process == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TRIAL_SECONDS)
            program = load_program(content, origin)
            size = program.manifest.image_size
            program.logits(np.zeros((1, 3, size, size), np.uint8))
        finally:  # whatever is raised here is raised again, and told, where the program is loaded in earnest
            os._exit(0)
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise UserError(f"{origin}: damaged: ExecuTorch ends with {name} as it runs it")


def load_program(content: bytes, origin: str) -> ExecutorchProgram:
    """A program from the bytes of a `.pte` file; `origin` opens the message of the UserError it may raise."""
    with _quiet():
        try:
            program = _runtime(origin).load_program(content)
            if not {METADATA_KEY, "forward"} <= program.method_names:
                raise UserError(f"{origin}: an ExecuTorch program, but without selectq's description")
            (text,) = program.load_method(METADATA_KEY).execute([])
            return ExecutorchProgram(Manifest.from_json(text, origin), program, program.load_method("forward"))
        except RuntimeError as error:
            raise UserError(f"{origin}: not an ExecuTorch program that can be loaded ({error})") from None


def _runtime(origin: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its notices that its interface may change
        try:
            from executorch.runtime import Runtime  # noqa: PLC0415  # an optional extra
        except ImportError:
            raise UserError(f"{origin}: running it needs ExecuTorch; install selectq[executorch]") from None
        return Runtime.get()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runtime's C++ log of the processor's kind off standard error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
