"""`.pte` files: an ExecuTorch program lowered to XNNPACK, as phones run it."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.files import METADATA_KEY
from selectq.graph.nodes import Graph, Lookup, Shuffle, Slice
from selectq.programs.format import BIASES, SCALES, WEIGHTS, Backend, Format, Logits, Program
from selectq.programs.manifest import Manifest
from selectq.programs.program import register
from selectq.programs.quiet import quiet

if TYPE_CHECKING:
    from selectq.export.reference import ReferenceNetwork
    from selectq.quantization.network import Network

TRIAL_SECONDS = 60
"""So long may the trial of a file take."""

_FLOAT_BYTES = 4


class PteFormat(Format):
    """See the module. The program plans its memory for `largest_batch`; with fewer than 16, torch would allow 15."""

    ending, title, runtime, package = "pte", "ExecuTorch, lowered to XNNPACK", "ExecuTorch", "executorch"
    extra = "selectq[executorch]"
    largest_batch = 256
    in_float = "pooling and classifier"
    size_note = (
        "(ExecuTorch does not tell its tensors apart: weights, biases and scales are what the layers above imply, and"
        " graph is all the rest)"
    )

    def refuse(self, graph: Graph) -> None:
        """XNNPACK has no lookups, slices and shuffles."""
        for node in graph.nodes:
            if isinstance(node.operation, Lookup | Slice | Shuffle):
                what = getattr(node.operation, "function", type(node.operation).__name__.lower())
                raise UserError(f"formats: pte: {node.name} ({what}): XNNPACK has none on integers. Leave pte out")

    def write(self, reference: "ReferenceNetwork", manifest: Manifest) -> bytes:
        """The manifest is the method `selectq` of the program."""
        from selectq.export.xnnpack import lower, to_xnnpack  # noqa: PLC0415  # reading needs none of it

        return lower(to_xnnpack(reference), manifest, self.largest_batch)

    def open(self, path: Path) -> Program:
        """Tried in another process first, where a damaged file may abort."""
        content = path.read_bytes()
        with quiet():
            _runtime(str(path))
            _try_in_a_process_of_its_own(content, str(path))
            return load_program(content, str(path))

    def parts(self, path: Path) -> Iterator[tuple[str, int]]:
        """XNNPACK holds weights as int8 with a scale for each output channel, but a float layer's as float32."""
        for layer in self.open(path).manifest.layers:
            channels, stays_float = layer.weight_shape[0], layer.output_scale is None
            yield WEIGHTS, prod(layer.weight_shape) * (_FLOAT_BYTES if stays_float else 1)
            yield BIASES, channels * _FLOAT_BYTES
            yield SCALES, 0 if stays_float else channels * _FLOAT_BYTES

    def backends(self, path: Path, network: "Network") -> list[Backend]:
        """Without stored values: a program that shows them takes as long to make as the one that is shipped."""
        return [Backend("executorch", self.open(path).logits, None)]

    def prepare(self, path: Path, images: NDArray[Any], threads: int) -> Callable[[], Any]:
        """A program takes the process's pool of threads when it is loaded."""
        with quiet():
            from executorch.extension.pybindings.portable_lib import (  # noqa: PLC0415  # an optional extra
                _unsafe_reset_threadpool,
            )

            _unsafe_reset_threadpool(threads)
        return super().prepare(path, images, threads)


register(PteFormat())


def load_program(content: bytes, origin: str) -> Program:
    """A program from the bytes of a `.pte` file; `origin` opens the message of the UserError it may raise."""
    try:
        program = _runtime(origin).load_program(content)
        if not {METADATA_KEY, "forward"} <= program.method_names:
            raise UserError(f"{origin}: an ExecuTorch program, but without selectq's description")
        (text,) = program.load_method(METADATA_KEY).execute([])
        method = program.load_method("forward")
    except RuntimeError as error:
        raise UserError(f"{origin}: not an ExecuTorch program that can be loaded ({error})") from None

    def run(images: NDArray[Any]) -> Logits:
        import torch  # noqa: PLC0415  # what is known of the format needs none

        held = program  # owns the memory that `method` computes in
        (logits,) = method.execute([torch.from_numpy(np.ascontiguousarray(images))])
        assert held
        found: Logits = logits.clone().numpy()  # the next call overwrites it
        return found

    return Program(Manifest.from_json(text, origin), run)


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


def _runtime(origin: str) -> Any:
    try:
        from executorch.runtime import Runtime  # noqa: PLC0415  # an optional extra
    except ImportError:
        raise UserError(f"{origin}: running it needs ExecuTorch; install selectq[executorch]") from None
    return Runtime.get()
