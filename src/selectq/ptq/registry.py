"""What a PTQ algorithm is, and where the pipeline finds it by its name."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from selectq.config.algorithms import ALGORITHMS, in_order
from selectq.data.normalization import Normalization
from selectq.graph.nodes import Graph
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme

When = Literal["fp32", "before", "after"]
"""On the FP32 network, whose function stays, so that quantized layers are compared with what comes out; on what is
about to be quantized; on the quantized network."""


@dataclass(repr=False)
class PtqState:
    """What the algorithms of a pipeline read and change in place.

    Attributes:
        model: the FP32 network, in evaluation mode; a copy.
        graph: of the model.
        scheme: how numbers become integers; from `before` on.
        batches: gives the calibration images, float (B, 3, H, W) each; from `before` on.
        normalization: of these images; from `before` on.
        reference: the FP32 network as it was before `before`; from then on.
        quantized: the fake-quantized network; in `after`.
        settings: of the algorithms that have some, by name.
        seed: of random numbers; from `before` on.
    """

    model: nn.Module
    graph: Graph
    settings: Mapping[str, Any]
    seed: int = field(init=False)
    scheme: Scheme = field(init=False)
    batches: Callable[[], Iterable[Tensor]] = field(init=False)
    normalization: Normalization = field(init=False)
    reference: nn.Module = field(init=False)
    quantized: Network = field(init=False)


class PtqAlgorithm(Protocol):
    """One method that makes quantization lose less, without training."""

    name: str
    when: When

    def apply(self, state: PtqState) -> None:
        """Change the state in place."""


def register(algorithm: PtqAlgorithm) -> PtqAlgorithm:
    """Make an algorithm known by its name, in this process.

    Raises:
        UserError: the name is taken.
    """
    made: PtqAlgorithm = ALGORITHMS.register(algorithm.name, algorithm)
    return made


def find(names: Iterable[str]) -> list[PtqAlgorithm]:
    """The algorithms of these names, in the order in which they act: by `when`, then as `ALGORITHMS` has them.

    Raises:
        UserError: one is not known.
    """
    order: tuple[When, ...] = ("fp32", "before", "after")
    return sorted(map(ALGORITHMS.find, in_order(names)), key=lambda algorithm: order.index(algorithm.when))
