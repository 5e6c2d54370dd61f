"""The backends of a network, from the simulation to the program files: each gives logits, most also stored values.

All but the simulation are made of the reference. Those of a program file are its format's (`Format.backends`).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from selectq.export.reference import ReferenceNetwork
from selectq.programs.format import Backend, Logits, Pixels, Stored
from selectq.programs.program import format_of
from selectq.quantization.network import Network


def simulation_backend(network: Network) -> Backend:
    """The fake-quantized network, as it was trained and validated."""
    return _module_backend("simulation", lambda pixels: network(network.normalization(pixels)), network)


def reference_backend(reference: ReferenceNetwork) -> Backend:
    """Explicit quantize/dequantize operators in PyTorch."""
    return _module_backend("reference", reference, reference.network)


def program_backends(folder: Path, name: str, formats: Iterable[str], reference: ReferenceNetwork) -> list[Backend]:
    """The backends of the program files `folder/name.*`.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    paths = [folder / f"{name}.{ending}" for ending in formats]
    return [backend for path in paths for backend in format_of(path).backends(path, reference.network)]


def _module_backend(name: str, run: Callable[[torch.Tensor], torch.Tensor], network: Network) -> Backend:
    """`run` goes through all of `network`."""

    @torch.no_grad()
    def logits(pixels: Pixels) -> Logits:
        found: Logits = run(torch.from_numpy(pixels)).numpy()
        return found

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
