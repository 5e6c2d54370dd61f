"""Comparing two forms of a network in integer steps, place by place."""

import torch
from torch import Tensor, nn

from selectq.export.reference import ReferenceNetwork
from selectq.quantization.network import Network


def flipped(one: Tensor, other: Tensor) -> float:
    """Share of the images for which two forms' logits (N, classes) name different classes."""
    assert len(one.argmax(1).unique()) > 1, "the images are not all of one class"
    return (one.argmax(1) != other.argmax(1)).double().mean().item()


def integer_steps(simulation: Network, reference: ReferenceNetwork, x: Tensor) -> dict[str, float]:
    """Site name -> largest difference of what both store, in steps, both given what the simulation stored before.

    Errors do not add up this way: a difference belongs to the place at which it is found.
    """
    twins = dict(zip(simulation.sites(), reference.network.sites(), strict=True))
    steps: dict[str, float] = {}

    def compare(place: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        steps[place.name] = ((twins[place](*arguments) - output).abs().max() / place.activation.scale).item()

    handles = [place.register_forward_hook(compare) for place in twins]
    with torch.no_grad():
        simulation(x)
    for handle in handles:
        handle.remove()
    return steps
