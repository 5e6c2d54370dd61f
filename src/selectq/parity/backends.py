"""The backends of a network, from the simulation to the program files: each gives logits, most also stored values.

All but the simulation are made of the reference. Stored values of an ONNX file come from a copy of it that has them
among its outputs; logits come from the file that is shipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from selectq.export.reference import ReferenceNetwork
from selectq.programs.manifest import INPUT_NAME
from selectq.programs.onnx_runtime import codes_of, open_session
from selectq.programs.program import open_program
from selectq.programs.torch_export import TorchProgram
from selectq.quantization.network import LookupNode, Network

Pixels = NDArray[np.uint8]
Stored = list[NDArray[np.float32]]
"""The stored values of all sites, in order of execution, as floats."""


@dataclass(frozen=True)
class Backend:
    """What runs a network.

    Attributes:
        name: as tables call it.
        logits: uint8 pixels (N, 3, H, W) -> float (N, classes).
        stored: the same pixels -> what every site stores; None where the backend does not show it.
    """

    name: str
    logits: Callable[[Pixels], NDArray[np.float32]]
    stored: Callable[[Pixels], Stored] | None


def simulation_backend(network: Network) -> Backend:
    """The fake-quantized network, as it was trained and validated."""
    return _module_backend("simulation", lambda pixels: network(network.normalization(pixels)), network)


def reference_backend(reference: ReferenceNetwork) -> Backend:
    """Explicit quantize/dequantize operators in PyTorch."""
    return _module_backend("reference", reference, reference.network)


def program_backends(folder: Path, name: str, formats: tuple[str, ...], reference: ReferenceNetwork) -> list[Backend]:
    """The backends of the program files `folder/name.*`.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    makers: dict[str, Callable[[Path, Network], list[Backend]]] = {
        "pt2": _torch_export_backends,
        "onnx": _onnx_backends,
        "pte": _executorch_backends,
    }
    return [backend for ending in formats for backend in makers[ending](folder / f"{name}.{ending}", reference.network)]


def _module_backend(name: str, run: Callable[[torch.Tensor], torch.Tensor], network: Network) -> Backend:
    """`run` goes through all of `network`."""

    @torch.no_grad()
    def logits(pixels: Pixels) -> NDArray[np.float32]:
        return run(torch.from_numpy(pixels)).numpy()

    def stored(pixels: Pixels) -> Stored:
        found: Stored = []

        def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            found.append(output.numpy())

        handles = [site.register_forward_hook(keep) for site in network.sites()]
        logits(pixels)
        for handle in handles:
            handle.remove()
        return found

    return Backend(name, logits, stored)


def _torch_export_backends(path: Path, network: Network) -> list[Backend]:
    program = open_program(path)
    assert isinstance(program, TorchProgram)
    gates = [isinstance(site, LookupNode) and site.multiplies for site in network.sites()]

    def stored(pixels: Pixels) -> Stored:
        found = iter(program.stored(pixels))
        return [(next(found), next(found))[1] if gate else next(found) for gate in gates]  # a gate comes first

    return [Backend("torch_export", program.logits, stored)]


def _executorch_backends(path: Path, network: Network) -> list[Backend]:
    """Without stored values: a program that shows them takes as long to make as the one that is shipped."""
    return [Backend("executorch", open_program(path).logits, None)]


def _onnx_backends(path: Path, network: Network) -> list[Backend]:
    return [_onnx_backend("onnx_plain", path, network, False), _onnx_backend("onnx", path, network, True)]


def _onnx_backend(name: str, path: Path, network: Network, optimise: bool) -> Backend:
    model = onnx.load(path)
    watched = [codes_of(site.name) for site in network.sites()]
    parameters = _quantization_parameters(model.graph)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(codes) for codes in watched)
    whole, session = open_session(path, optimise), open_session(model.SerializeToString(), optimise)

    def stored(pixels: Pixels) -> Stored:
        found = session.run(watched, {INPUT_NAME: pixels})
        return [
            (codes.astype(np.float32) - zero_point) * scale
            for codes, (scale, zero_point) in zip(found, map(parameters.__getitem__, watched), strict=True)
        ]

    return Backend(name, lambda pixels: whole.run(None, {INPUT_NAME: pixels})[0], stored)


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
