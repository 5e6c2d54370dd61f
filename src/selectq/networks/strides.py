"""The strided layers of a network: found by running an image through it, and made to keep the resolution."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from selectq.errors import UserError, first_line

SIZES = (64, 299)
"""Pixels of the image that finds them: large enough to be halved five times; some networks take no small ones."""


def remove_strides(network: nn.Module, count: int) -> None:
    """Give the first `count` strided layers, convolutions or pools, stride 1, in place, on the CPU.

    Layers that lead to the same resolution, as those of a residual branch and its shortcut, count as one. No parameter
    changes its name or shape.

    Raises:
        UserError: there are fewer, or the network takes no image of SIZES.
    """
    if not count:
        return
    layers = strided_layers(network)
    if count > len(layers):
        raise UserError(f"model.strides_removed: {count}; the network has {len(layers)}; allowed: 0 to {len(layers)}")
    for parallel in layers[:count]:
        for layer in parallel:
            setattr(layer, "stride", (1, 1))  # noqa: B010  # a module's attributes have no types


def strided_layers(network: nn.Module) -> list[list[nn.Module]]:
    """The layers at which the resolution falls, in order of execution; those of parallel branches together.

    Raises:
        UserError: the network takes no image of SIZES.
    """
    reason = ""
    for size in SIZES:
        try:
            return _observed(network, size)
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = first_line(error)
    raise UserError(f"model.strides_removed: the network takes no image of {SIZES[0]} or {SIZES[1]} pixels ({reason})")


@torch.no_grad()
def _observed(network: nn.Module, size: int) -> list[list[nn.Module]]:
    """The strided layers that one image of `size` pixels passes, by the height of what they put out."""
    found: dict[int, list[nn.Module]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.shape[-2] < inputs[0].shape[-2]:
            found.setdefault(output.shape[-2], []).append(layer)

    strided = [layer for layer in network.modules() if not list(layer.children()) and _is_strided(layer)]
    handles = [layer.register_forward_hook(note) for layer in strided]
    try:
        with evaluating(network):
            network(torch.zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def _is_strided(layer: nn.Module) -> bool:
    stride = getattr(layer, "stride", 1)
    return stride != 1 and set(stride if isinstance(stride, tuple) else [stride]) != {1}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, for the length of the block."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
