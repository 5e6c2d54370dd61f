"""Random scopes of equal size: is it the kind of the layers that counts, or only how many parameters learn?"""

import random
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.nodes import Conv, Graph
from selectq.quantization.scopes import count_parameters, parameters_in_scope

CLASSIFIER = "classifier"
TOLERANCE = 0.02
"""By how much a control may hold more or fewer convolution weights than its original, as a share."""

ATTEMPTS = 200_000
"""Orders of the layers that are tried for one control; a hit takes some dozens."""


def random_scopes(model: nn.Module, scope: Iterable[str], count: int, seed: int) -> list[tuple[str, ...]]:
    """Random sets of convolutions that hold as many parameters as a scope does.

    All convolutions, whatever their kind, are put in random order, and taken from its beginning; an order is dropped
    unless some number of layers comes within `TOLERANCE` of what the scope holds. The classifier is no part of this:
    it is in every control if it is in the scope.

    Args:
        model: the FP32 network.
        scope: as in `QatConfig`.
        count: how many controls, all of them different.
        seed: of the orders.

    Returns:
        For each control the module names in network order, the classifier last.

    Raises:
        UserError: the scope names no layer, or there are not so many sets of its size.
    """
    entries, graph = tuple(scope), capture(model)
    sizes = convolution_sizes(model, graph)
    classifier = parameters_in_scope(model, [CLASSIFIER], graph)
    in_scope = parameters_in_scope(model, entries, graph)
    own = in_scope - classifier
    wanted = count_parameters(model, own)
    generator, found = random.Random(seed), dict[tuple[str, ...], None]()
    for _ in range(ATTEMPTS):
        if len(found) == count:
            break
        chosen = _fill(sizes, wanted, generator)
        if chosen and {f"{name}.weight" for name in chosen} != own:
            found[tuple(name for name in sizes if name in chosen)] = None
    else:
        raise UserError(
            f"scope: {list(entries)} holds {wanted:,} parameters beside the classifier; too few random sets"
            f" of convolutions come within {TOLERANCE:.0%} of that"
        )
    last = (CLASSIFIER,) if in_scope & classifier else ()
    return [(*names, *last) for names in found]


def convolution_sizes(model: nn.Module, graph: Graph) -> dict[str, int]:
    """Module name -> number of weights, of every convolution but the classifier in network order."""
    names = [
        node.operation.module for node in graph.layers() if isinstance(node.operation, Conv) and node.kind != CLASSIFIER
    ]
    return {name: model.get_submodule(name).get_parameter("weight").numel() for name in names}


def _fill(sizes: Mapping[str, int], wanted: int, generator: random.Random) -> set[str]:
    """Layers from the beginning of a random order; none where their sizes pass `wanted` by."""
    order: Sequence[str] = generator.sample(list(sizes), len(sizes))
    total, chosen = 0, set[str]()
    for name in order:
        if abs(total - wanted) <= TOLERANCE * wanted or total > wanted:
            break
        total += sizes[name]
        chosen.add(name)
    return chosen if chosen and abs(total - wanted) <= TOLERANCE * wanted else set()
