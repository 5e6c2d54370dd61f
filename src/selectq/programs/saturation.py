"""Whether this machine's processor saturates when it multiplies uint8 activations by int8 weights.

Without VNNI instructions, x86 processors add the products of two neighbours in 16 bits: 2 * 255 * 127 does not fit.
Activations of 7 bits do (2 * 127 * 127). ONNX Runtime's documentation of quantization describes the same, and has an
option against it, off by default, that every session of selectq's is opened with (`manifest.EXACT_PRODUCTS`).
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CPU_INFO = Path("/proc/cpuinfo")
VNNI_FLAGS = ("avx512_vnni", "avx_vnni")
CHANNELS = 64
"""As many int8 values as the widest instructions take."""

OUTPUT_SCALE = CHANNELS * 127
"""Of the made-up layer: in exact arithmetic it puts out the activation that all its inputs are."""


def read_cpu_info() -> str:
    """What Linux says of the processor; nothing elsewhere."""
    return CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""


def cpu_flags(cpu_info: str) -> list[str]:
    """The instruction sets that a text such as /proc/cpuinfo names, on x86 or Arm."""
    return next((line.split() for line in cpu_info.splitlines() if line.startswith(("flags", "Features"))), [])


def has_vnni(cpu_info: str) -> bool:
    """Whether a text such as /proc/cpuinfo names an x86 instruction set with 8-bit dot products."""
    return any(flag in cpu_flags(cpu_info) for flag in VNNI_FLAGS)


def describe_cpu() -> dict[str, bool]:
    """`vnni`: the instructions are there; `u8s8_saturates`: a layer made to saturate does, by default, here."""
    return {"vnni": has_vnni(read_cpu_info()), "u8s8_saturates": saturates(255)}


def saturates(activation: int) -> bool:
    """Whether ONNX Runtime, by default, gets the sum of products of 127 and this activation (0 to 255) wrong."""
    session = onnxruntime.InferenceSession(saturating_layer(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": activations(activation)})
    return bool((found != activation).any())


def saturating_layer() -> bytes:
    """An ONNX model of one 1x1 convolution of `CHANNELS` weights of 127, whose result is scaled back to 8 bits."""
    constants = {
        "codes": np.full((CHANNELS, CHANNELS, 1, 1), 127, np.int8),
        "one": np.float32(1),
        "zero": np.uint8(0),
        "output_scale": np.float32(OUTPUT_SCALE),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["x_float"]),
        helper.make_node("DequantizeLinear", ["codes", "one"], ["weight"]),
        helper.make_node("Conv", ["x_float", "weight"], ["y_float"]),
        helper.make_node("QuantizeLinear", ["y_float", "output_scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, (1, CHANNELS, 4, 4)) for name in ("x", "y")]
    initialisers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "saturating", ends[:1], ends[1:], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def activations(level: int) -> NDArray[np.uint8]:
    """The layer's input, of one level (0 to 255): uint8 (1, CHANNELS, 4, 4)."""
    return np.full((1, CHANNELS, 4, 4), level, np.uint8)
