"""The fastest way to compute a network's training forward pass on a device."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from selectq.kernels.build import KernelsUnavailableError, load_kernels

Forward = Callable[[Tensor], Tensor]
"""Float images (N, 3, H, W) -> logits (N, classes), with gradients."""

REPAID_AFTER_STEPS = 3000
"""Compiling for a GPU takes a minute or more; shorter runs do without."""

Network = TypeVar("Network", bound=nn.Module)
Step = TypeVar("Step", bound=Forward)
GpuStep = TypeVar("GpuStep", bound=Forward)


@dataclass(frozen=True)
class Kernels(Generic[Network, Step, GpuStep]):
    """Ways to compute a network's forward pass: what makes the CPU's, the sources it needs, and what makes a GPU's."""

    step: Callable[[Network], Step]
    sources: tuple[str, ...]
    on_gpu: Callable[[Network], GpuStep]


def training_forward(
    network: Network, kernels: Kernels[Network, Step, GpuStep], device: torch.device, steps: int
) -> Network | Step | GpuStep | Forward:
    """What to call on training batches instead of `network`: the same results up to rounding.

    On a CPU the project's own kernels, on a GPU a compiled graph if `steps` repay compiling it, else as few operations
    as possible. Where kernels or compiler cannot be had, a message says why and the network itself is returned.

    Args:
        network: on `device`.
        kernels: for the CPU, and what a GPU does without compiling.
        device: where training runs.
        steps: how many there will be.
    """
    if device.type == "cuda" and steps >= REPAID_AFTER_STEPS:
        return _compiled(network)
    return kernel_forward(network, kernels, device)


def kernel_forward(
    network: Network, kernels: Kernels[Network, Step, GpuStep], device: torch.device
) -> Network | Step | GpuStep:
    """As `training_forward`, without compiling for a GPU."""
    if device.type == "cuda":
        return kernels.on_gpu(network)
    try:
        load_kernels(*kernels.sources)
    except KernelsUnavailableError as error:
        print(f"running without kernels, at about two thirds of the speed: {error}", file=sys.stderr)
        return network
    return kernels.step(network)


def _compiled(network: nn.Module) -> Forward:
    """CUDA graphs of the whole pass; the plain network from the first failure on."""
    compiled: Forward = torch.compile(network, mode="reduce-overhead")
    working = True

    def forward(images: Tensor) -> Tensor:
        nonlocal working
        if not working:
            return network(images)
        try:
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(images)
        except Exception as error:  # whatever a compiler may raise: training goes on
            working = False
            print(f"training without compilation: {str(error).splitlines()[0]}", file=sys.stderr)
            return network(images)

    return forward
