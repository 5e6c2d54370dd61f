"""The backends of a network, from the simulation to the program files: each gives logits, most also stored values.

All but the simulation are made of the reference. A watched program is the program with what it stores
among its outputs; logits come from the file that is shipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selectq.data.augment import normalise
from selectq.export.executorch_program import lower, to_xnnpack
from selectq.export.reference import ReferenceNetwork
from selectq.programs.executorch import load_program
from selectq.programs.manifest import INPUT_NAME
from selectq.programs.onnx_runtime import open_session
from selectq.programs.program import open_program
from selectq.quantization.network import Network

Pixels = NDArray[np.uint8]
Stored = list[NDArray[np.float32]]
"""The stored values of all places, in order of execution, as floats."""


@dataclass(frozen=True)
class Form:
    """A network in one of its backends.

    Attributes:
        name: as tables call it.
        logits: uint8 pixels (N, 3, H, W) -> float (N, classes).
        stored: the same pixels -> what every place stores; None where the backend does not show it.
    """

    name: str
    logits: Callable[[Pixels], NDArray[np.float32]]
    stored: Callable[[Pixels], Stored] | None


class Watched(nn.Module):
    """A network that puts out, after its logits, what every place stores."""

    def __init__(self, whole: nn.Module, network: Network) -> None:
        super().__init__()
        self.whole = whole
        self._places = tuple(network.sites())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The input of `whole` -> logits, then the stored values as float."""
        stored: list[Tensor] = []
        handles = [
            place.register_forward_hook(lambda module, arguments, output: stored.append(output.clone()))
            for place in self._places
        ]
        logits = self.whole(x)
        for handle in handles:
            handle.remove()
        return logits, *stored


def simulation_form(network: Network) -> Form:
    """The fake-quantized network, as it was trained and validated."""
    return _torch_form("simulation", nn.Sequential(_Normalise(), network), network)


def reference_form(reference: ReferenceNetwork) -> Form:
    """Explicit quantize/dequantize operators in PyTorch."""
    return _torch_form("reference", reference, reference.network)


def program_forms(folder: Path, name: str, formats: tuple[str, ...], reference: ReferenceNetwork) -> list[Form]:
    """The backends of the program files `folder/name.*`.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    makers: dict[str, Callable[[Path, ReferenceNetwork], list[Form]]] = {
        "pt2": _torch_export_forms,
        "onnx": _onnx_forms,
        "pte": _executorch_forms,
    }
    return [form for ending in formats for form in makers[ending](folder / f"{name}.{ending}", reference)]


class _Normalise(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return normalise(pixels)


def _torch_form(name: str, whole: nn.Module, network: Network) -> Form:
    watched = Watched(whole, network)

    @torch.no_grad()
    def run(pixels: Pixels) -> Stored:
        return [output.numpy() for output in watched(torch.from_numpy(pixels))]

    return Form(name, lambda pixels: run(pixels)[0], lambda pixels: run(pixels)[1:])


def _torch_export_forms(path: Path, reference: ReferenceNetwork) -> list[Form]:
    return [Form("torch_export", open_program(path).logits, None)]


def _onnx_forms(path: Path, reference: ReferenceNetwork) -> list[Form]:
    return [_onnx_form("onnx_plain", path, optimise=False), _onnx_form("onnx", path, optimise=True)]


def _onnx_form(name: str, path: Path, optimise: bool) -> Form:
    model, watched = _watched_onnx(path)
    whole, session = open_session(path, optimise), open_session(model.SerializeToString(), optimise)

    def stored(pixels: Pixels) -> Stored:
        levels = session.run([place.levels for place in watched], {INPUT_NAME: pixels})
        return [place.values(found) for place, found in zip(watched, levels, strict=True)]

    return Form(name, lambda pixels: whole.run(None, {INPUT_NAME: pixels})[0], stored)


@dataclass(frozen=True)
class _OnnxPlace:
    """A tensor of stored levels in an ONNX model, with its scale and zero point."""

    levels: str
    scale: NDArray[np.float32]
    zero_point: NDArray[np.uint8]

    def values(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (levels.astype(np.float32) - self.zero_point) * self.scale


def _watched_onnx(path: Path) -> tuple[onnx.ModelProto, list[_OnnxPlace]]:
    """The model with every activation that it dequantizes among its outputs."""
    model = onnx.load(path)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    stored = {name for node in model.graph.node if node.op_type in ("QuantizeLinear", "Clip") for name in node.output}
    places: dict[str, _OnnxPlace] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            levels, scale, zero_point = node.input
            places.setdefault(levels, _OnnxPlace(levels, constants[scale], constants[zero_point]))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(levels) for levels in places)
    return model, list(places.values())


def _executorch_forms(path: Path, reference: ReferenceNetwork) -> list[Form]:
    program = open_program(path)
    network = to_xnnpack(reference)
    watched = load_program(lower(Watched(network, network.network), program.manifest), f"{path}, watched")
    return [Form("executorch", program.logits, lambda pixels: watched.outputs(pixels)[1:])]
