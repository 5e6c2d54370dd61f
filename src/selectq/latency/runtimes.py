"""Program files made ready for one batch on so many threads, in every runtime that takes them, and what they are fed.

ONNX Runtime and OpenVINO have threads of their own for each session. PyTorch's number and ExecuTorch's pool are the
process's: make sides of one number of threads ready together, and time them before those of another.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.latency.quiet import quiet
from selectq.latency.turns import Run
from selectq.programs.manifest import EXACT_PRODUCTS, INPUT_NAME
from selectq.programs.onnx_runtime import open_session
from selectq.programs.program import open_program

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
"""ONNX Runtime's name of an image's type -> numpy's."""


@dataclass(frozen=True)
class Images:
    """What a program is fed.

    Attributes:
        name: of the input.
        dtype: `uint8` or `float32`.
        shape: of one image, three sizes in the program's order.
        least, most: images that the program takes at once; `most` is None where any number is taken.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: int = 1
    most: int | None = None

    def random(self, batch: int) -> NDArray[Any]:
        """A batch, the same each time: uint8 from 0 to 255, or float32 from 0 to 1."""
        generator, shape = np.random.default_rng(0), (batch, *self.shape)
        if self.dtype == "uint8":
            return generator.integers(0, 256, shape, np.uint8)
        return generator.random(shape, np.float32)


def read_images(path: Path) -> Images:
    """What a program file takes: any ONNX file of one image input, or a program of selectq's.

    Raises:
        UserError: the file is missing, of no known format, damaged, its runtime is not installed, or it takes
            something else than images of one size.
    """
    if path.suffix == ".onnx" and path.is_file():
        return _onnx_images(path)
    program: Any = open_program(path)
    size = program.manifest.image_size
    most = program.method.metadata.input_tensor_meta(0).sizes()[0] if path.suffix == ".pte" else None
    return Images(INPUT_NAME, "uint8", (3, size, size), most=most)


def _onnx_images(path: Path) -> Images:
    inputs = open_session(path, optimise=True).get_inputs()
    if len(inputs) != 1:
        names = ", ".join(entry.name for entry in inputs) or "none"
        raise UserError(f"{path}: takes {len(inputs)} inputs ({names}); allowed: one input, of images")
    (only,) = inputs
    batch, *shape = only.shape or [None]
    if only.type not in DTYPES or len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        sizes = ", ".join(map(str, only.shape))
        raise UserError(
            f"{path}: the input {only.name} is {only.type} ({sizes}); allowed: uint8 or float32 images,"
            " (batch, 3 fixed sizes)"
        )
    fixed = (batch, batch) if isinstance(batch, int) else (1, None)
    return Images(only.name, DTYPES[only.type], tuple(shape), *fixed)


def onnx_runtime(path: Path, images: NDArray[Any], threads: int) -> Run:
    """An ONNX file of one input in ONNX Runtime with its default optimisations."""
    session = onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)[0]


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """One operator at a time, on so many threads, which wait for the next one spinning, as is the default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry(*EXACT_PRODUCTS)
    options.log_severity_level = 3
    return options


def openvino(path: Path, images: NDArray[Any], threads: int) -> Run:
    """An ONNX file of one input, compiled by OpenVINO for this very batch."""
    core = _import_openvino().Core()
    program = core.read_model(path)
    program.reshape(list(images.shape))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16, where the CPU has it
        "ENABLE_CPU_PINNING": False,  # as for all other sides
    }
    request = core.compile_model(program, "CPU", settings).create_infer_request()
    return lambda: request.infer([images], share_inputs=True, share_outputs=True)[0]


def _import_openvino() -> ModuleType:
    """Without the package by which an import of OpenVINO would be reported to its makers."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how Python marks what must not be imported
    with quiet():
        import openvino  # noqa: PLC0415
    return openvino


def pytorch(path: Path, pixels: NDArray[np.uint8], threads: int) -> Run:
    """A `.pt2` program of selectq's in PyTorch."""
    import torch  # noqa: PLC0415  # ONNX files need none

    torch.set_num_threads(threads)
    program = open_program(path)
    return lambda: program.logits(pixels)


def executorch(path: Path, pixels: NDArray[np.uint8], threads: int) -> Run:
    """A `.pte` program of selectq's in ExecuTorch, which takes the pool of threads when it is loaded."""
    with quiet():
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool  # noqa: PLC0415

        _unsafe_reset_threadpool(threads)
    program = open_program(path)
    return lambda: program.logits(pixels)


@dataclass(frozen=True)
class Runtime:
    """What runs program files of one ending.

    Attributes:
        name: in tables.
        package: the name that it is imported and installed by.
        ending: of its files.
        prepare: a file, a batch and the number of threads -> one inference of that batch.
    """

    name: str
    package: str
    ending: str
    prepare: Callable[[Path, NDArray[Any], int], Run]

    @property
    def installed(self) -> bool:
        """Whether the package can be imported."""
        return find_spec(self.package) is not None


RUNTIMES = (
    Runtime("ONNX Runtime", "onnxruntime", ".onnx", onnx_runtime),
    Runtime("OpenVINO", "openvino", ".onnx", openvino),
    Runtime("PyTorch", "torch", ".pt2", pytorch),
    Runtime("ExecuTorch", "executorch", ".pte", executorch),
)
