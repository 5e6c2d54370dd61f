"""Our program and its peers, each ready to run one batch on so many threads.

Ours and the other INT8 files of ours take uint8 pixels, as they are decoded. All other peers take images that are
normalised already, which costs them nothing here: a handicap for ours.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from int8_cases import (
    COMPILED,
    EAGER,
    EXECUTORCH,
    OPENVINO_FP32,
    OPENVINO_INT8,
    ORT_FP32,
    ORT_STATIC,
    PT2E,
    Setting,
)
from int8_models import Models
from machine import has_vnni
from torch import Tensor, nn

from selectq.export.onnx import ONNX, openvino
from selectq.latency.turns import Run
from selectq.programs.program import find
from selectq.programs.quiet import quiet


@dataclass(frozen=True)
class Peer:
    """How a peer is made ready, and the package that it needs (the name it is imported by)."""

    package: str
    prepare: Callable[[Models, Setting], Run]

    @property
    def installed(self) -> bool:
        """Whether the package can be imported."""
        return find_spec(self.package) is not None


def ours(models: Models, setting: Setting) -> Run:
    """Our ONNX program in ONNX Runtime."""
    return ONNX.prepare(models.int8_onnx, models.pixels[: setting.batch], setting.threads)


def _onnx_runtime_fp32(models: Models, setting: Setting) -> Run:
    return ONNX.prepare(models.fp32_onnx, models.images[: setting.batch], setting.threads)


def _onnx_runtime_static(models: Models, setting: Setting) -> Run:
    return ONNX.prepare(models.static_onnx, models.images[: setting.batch], setting.threads)


def _eager(models: Models, setting: Setting) -> Run:
    return _in_torch(models.network, _torch_images(models, setting))


def _compiled(models: Models, setting: Setting) -> Run:
    return _compile(copy.deepcopy(models.network), _torch_images(models, setting), setting.threads)


def _pt2e(models: Models, setting: Setting) -> Run:
    """torchao's quantizer for x86, calibrated on the batch itself; weights of 7 bits where 8 would saturate."""
    images = _torch_images(models, setting)
    with quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # noqa: PLC0415
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86  # noqa: PLC0415

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=not has_vnni()))
        prepared = prepare_pt2e(torch.export.export(models.network, (images,)).module(), quantizer)
        prepared(images)
        converted = convert_pt2e(prepared)
    return _compile(converted, images, setting.threads)


def _compile(network: nn.Module, images: Tensor, threads: int) -> Run:
    """Compiled for this very batch and number of threads, with the weights frozen; the first run compiles."""
    run = _in_torch(torch.compile(network, dynamic=False), images)
    with quiet(), torch._inductor.config.patch({"freezing": True, "cpp.threads": threads}):
        run()
    return run


def _in_torch(network: Callable[[Tensor], Tensor], images: Tensor) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run


def _torch_images(models: Models, setting: Setting) -> Tensor:
    """Channels last."""
    images = torch.from_numpy(models.images[: setting.batch])
    return images.contiguous(memory_format=torch.channels_last)


def _openvino_fp32(models: Models, setting: Setting) -> Run:
    return openvino(models.fp32_onnx, models.images[: setting.batch], setting.threads)


def _openvino_int8(models: Models, setting: Setting) -> Run:
    return openvino(models.int8_onnx, models.pixels[: setting.batch], setting.threads)


def _executorch(models: Models, setting: Setting) -> Run:
    return find("pte").prepare(models.int8_pte, models.pixels[: setting.batch], setting.threads)


PEERS: Mapping[str, Peer] = {
    ORT_FP32: Peer("onnxruntime", _onnx_runtime_fp32),
    ORT_STATIC: Peer("onnxruntime", _onnx_runtime_static),
    EAGER: Peer("torch", _eager),
    COMPILED: Peer("torch", _compiled),
    PT2E: Peer("torchao", _pt2e),
    OPENVINO_FP32: Peer("openvino", _openvino_fp32),
    OPENVINO_INT8: Peer("openvino", _openvino_int8),
    EXECUTORCH: Peer("executorch", _executorch),
}
