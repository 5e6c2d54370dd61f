"""The fastest way to compute a network's forward pass: by kernels, where they can be had."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from selectq.kernels.build import KernelsUnavailableError, load_kernels

Network = TypeVar("Network", bound=nn.Module)
Step = TypeVar("Step", bound=Callable[[Tensor], Tensor])


@dataclass(frozen=True)
class Kernels(Generic[Network, Step]):
    """The CPU's way to compute a network's forward pass: what makes it, and the sources that it needs."""

    step: Callable[[Network], Step]
    sources: tuple[str, ...]


def kernel_forward(network: Network, kernels: Kernels[Network, Step], device: torch.device) -> Network | Step:
    """What to call instead of `network` on `device`: the same results up to rounding, on batches of any shape.

    Where the kernels cannot be had, a message says why and the network itself is returned.
    """
    if device.type == "cuda":
        return network
    try:
        load_kernels(*kernels.sources)
    except KernelsUnavailableError as error:
        _say(f"running without kernels, more slowly: {error}")
        return network
    return kernels.step(network)


@cache
def _say(message: str) -> None:
    """Once."""
    print(message, file=sys.stderr)
