"""`.onnx` files: quantize/dequantize operators with integer weights, which ONNX Runtime fuses; read without torch."""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from selectq.errors import UserError, first_line
from selectq.files import METADATA_KEY
from selectq.programs.format import BIASES, SCALES, WEIGHTS, Backend, Format, Images, Pixels, Program, Runtime, Stored
from selectq.programs.manifest import EXACT_PRODUCTS, INPUT_NAME, OUTPUT_NAME, Manifest
from selectq.programs.program import register
from selectq.programs.quiet import quiet
from selectq.programs.snippets import onnx_lines

if TYPE_CHECKING:
    from selectq.export.reference import ReferenceNetwork
    from selectq.quantization.network import Network

OPSET, IR_VERSION = 21, 10

INTEGER_OPERATORS = (
    "QLinearConv",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearSigmoid",
    "Clip",
    "MaxPool",
    "NhwcMaxPool",
)
"""What computes on integers in an optimised program; `Clip` is a ReLU on integer codes.

That clips and pools are not in float shows in the counts: between integers, it takes a DequantizeLinear to get there.
"""

MOVING_OPERATORS = ("Transpose", "Reshape", "Pad", "Slice", "Split", "Concat", "Gather")
"""What moves values and computes nothing."""

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
"""ONNX Runtime's name of an image's type -> numpy's."""


class OnnxFormat(Format):
    """See the module."""

    ending, title, runtime, package = "onnx", "ONNX", "ONNX Runtime", "onnxruntime"
    needs = f"ONNX Runtime 1.18 or newer (opset {OPSET})"

    def write(self, reference: "ReferenceNetwork", manifest: Manifest) -> bytes:
        """One input, `pixels`; one output, `logits`; the manifest in the metadata, under `selectq`."""
        from selectq.export.onnx_graph import build_onnx  # noqa: PLC0415  # loads torch

        return bytes(build_onnx(reference, manifest).SerializeToString(deterministic=True))

    def open(self, path: Path) -> Program:
        """As ONNX Runtime optimises it for this machine; a float model is refused."""
        session = open_session(path, optimise=True)
        metadata = session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise UserError(f"{path}: {_kind(path)}; an INT8 program written by selectq's convert stage is needed")
        manifest = Manifest.from_json(metadata[METADATA_KEY], str(path))
        return Program(manifest, lambda images: session.run([OUTPUT_NAME], {INPUT_NAME: images})[0])

    def parts(self, path: Path) -> Iterator[tuple[str, int]]:
        """As the file's tensors have them."""
        graph = onnx.load(path).graph
        stored_as = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}  # INT4 weights
        codes, scales = set(), set()
        for node in graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                codes.add(stored_as.get(node.input[0], node.input[0]))
                scales.update(node.input[1:])
        for tensor in graph.initializer:
            if tensor.name in scales:
                yield SCALES, _data_bytes(tensor)
            elif tensor.name in codes:
                yield (WEIGHTS if len(tensor.dims) > 1 else BIASES), _data_bytes(tensor)

    def backends(self, path: Path, network: "Network") -> list[Backend]:
        """Without and with the runtime's optimisation."""
        watched = [codes_of(site.name) for site in network.sites()]
        return [_backend("onnx_plain", path, watched, False), _backend("onnx", path, watched, True)]

    def images(self, path: Path) -> Images:
        """Of any file of one input of images, not of selectq's alone."""
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

    def runtimes(self) -> tuple[Runtime, ...]:
        """ONNX Runtime, and OpenVINO where it is installed."""
        return *super().runtimes(), Runtime("OpenVINO", "openvino", openvino)

    def prepare(self, path: Path, images: NDArray[Any], threads: int) -> Callable[[], Any]:
        """Any file of one input, with the default optimisations."""
        session = onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: images}
        return lambda: session.run(None, feed)[0]

    def operators(self, path: Path) -> tuple[dict[str, int], dict[str, int]]:
        """In the graph as ONNX Runtime optimises it for this machine."""
        counts = operator_counts(path)
        floating = float_operators(counts)
        return {name: count for name, count in counts.items() if name not in floating}, floating

    def lines(self, name: str, manifest: Manifest) -> dict[str, list[str]]:
        """Without selectq, in three languages."""
        return onnx_lines(name, manifest)


ONNX = OnnxFormat()
register(ONNX)


def codes_of(name: str) -> str:
    """The tensor that holds the integer codes of a network's node."""
    return f"{name}.codes"


def open_session(model: Path | bytes, optimise: bool, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, exact on every processor.

    Args:
        model: a file, or an ONNX model's bytes.
        optimise: False runs every operator as it is written: dequantize, compute in float, quantize.
        optimised: where to keep the graph as the runtime rewrote it.

    Raises:
        UserError: no ONNX model that the runtime can load.
    """
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: writing an optimised graph is announced as a warning
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.add_session_config_entry(*EXACT_PRODUCTS)
    if optimised:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are not public
        name = model if isinstance(model, Path) else "the model"
        raise UserError(f"{name}: not an ONNX program that ONNX Runtime can load ({first_line(error)})") from None


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


def operator_counts(path: Path) -> dict[str, int]:
    """How often each operator stands in the graph as ONNX Runtime optimises it for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        open_session(path, optimise=True, optimised=optimised)
        return dict(sorted(Counter(node.op_type for node in onnx.load(optimised).graph.node).items()))


def float_operators(counts: dict[str, int]) -> dict[str, int]:
    """Of `operator_counts`, those that compute in floating point."""
    return {name: count for name, count in counts.items() if name not in INTEGER_OPERATORS + MOVING_OPERATORS}


def openvino(path: Path, images: NDArray[Any], threads: int) -> Callable[[], Any]:
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


def _backend(name: str, path: Path, watched: list[str], optimise: bool) -> Backend:
    """Stored values come from a copy of the file that has them among its outputs, logits from the file itself."""
    program, model = ONNX.open(path), onnx.load(path)
    parameters = _quantization_parameters(model.graph)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(codes) for codes in watched)
    whole, session = open_session(path, optimise), open_session(model.SerializeToString(), optimise)
    of_pixels = program.manifest.input.of_pixels

    def stored(pixels: Pixels) -> Stored:
        found = session.run(watched, {INPUT_NAME: of_pixels(pixels)})
        return [
            (codes.astype(np.float32) - zero_point) * scale
            for codes, (scale, zero_point) in zip(found, map(parameters.__getitem__, watched), strict=True)
        ]

    return Backend(name, lambda pixels: whole.run([OUTPUT_NAME], {INPUT_NAME: of_pixels(pixels)})[0], stored)


def _quantization_parameters(graph: onnx.GraphProto) -> dict[str, tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Tensor of integer codes -> their scale and zero point."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero_point = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:])
            found[node.output[0]] = scale, zero_point
        elif node.op_type == "Clip":
            found[node.output[0]] = found[node.input[0]]
    return found


def _data_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's data: without its name, type and shape."""
    if tensor.raw_data:
        return len(tensor.raw_data)
    described = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return int(tensor.ByteSize() - described.ByteSize())


def _kind(path: Path) -> str:
    quantized = any(node.op_type == "DequantizeLinear" for node in onnx.load(path).graph.node)
    return "a quantized model, but without selectq's description" if quantized else "a float model, not an INT8 one"
