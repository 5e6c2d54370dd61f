"""The nodes of a network's graph, and what can be asked of its edges."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from selectq.graph.bounds import UNBOUNDED, Bounds

PIXELS = "pixels"
"""The name of the input node."""

NORMALIZATION = "normalization"
"""The name of the node behind it, where pixels are no integer codes as they are."""


@dataclass(frozen=True)
class Input:
    """The images, (N, 3, H, W)."""


@dataclass(frozen=True)
class Normalize:
    """Pixels, each less its channel's mean and divided by its standard deviation: (N, 3, H, W) to the same shape."""


@dataclass(frozen=True)
class Conv:
    """A convolution with the batch norm behind it, if there is one; both are module names.

    `gate` says that x / 6 + 1 / 2, the inside of a hard-sigmoid, is part of it.
    """

    module: str
    norm: str | None
    depthwise: bool
    pointwise: bool
    groups: int
    gate: bool = False


@dataclass(frozen=True)
class Linear:
    """A fully connected layer: (N, C) -> (N, O)."""

    module: str
    gate: bool = False


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape."""


@dataclass(frozen=True)
class Mul:
    """The product of two tensors; the second may be (N, C, 1, 1)."""


@dataclass(frozen=True)
class Concat:
    """Channels of several tensors, one after another."""


@dataclass(frozen=True)
class AveragePool:
    """The average over all positions (`kernel` None), (N, C, 1, 1), or over windows without padding."""

    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each window."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool


@dataclass(frozen=True)
class Lookup:
    """An elementwise function that is no clamp: `hard_swish`, `silu` or `sigmoid`."""

    function: str


@dataclass(frozen=True)
class Slice:
    """Channels `start` to `stop` of a tensor."""

    start: int
    stop: int


@dataclass(frozen=True)
class Shuffle:
    """A channel shuffle: channels (groups, C / groups) transposed."""

    groups: int


@dataclass(frozen=True)
class Flatten:
    """(N, C, H, W) -> (N, C H W)."""


Operation = (
    Input | Normalize | Conv | Linear | Add | Mul | Concat | AveragePool | MaxPool | Lookup | Slice | Shuffle | Flatten
)

MOVES = (MaxPool, Slice, Shuffle, Flatten, Concat)
"""What puts out values that it read: integer codes pass through it unchanged."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: of the FP32 module whose output it is, or of the module that calls it.
        operation: what it computes.
        inputs: names of the nodes it reads.
        bounds: of the activation function that is fused into it.
        kind: the layer kind; see `selectq.graph.kinds`.
        block: the name of the module that is a block of the network; see `selectq.graph.blocks`.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    bounds: Bounds = UNBOUNDED
    kind: str = ""
    block: str = ""

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return isinstance(self.operation, Conv | Linear)


@dataclass(frozen=True)
class Graph:
    """The nodes in order of execution, the input first, what gives the logits last."""

    nodes: tuple[Node, ...]
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @property
    def output(self) -> Node:
        """The node that gives the logits."""
        return self.nodes[-1]

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """Node name -> the nodes that read it."""
        return {node.name: tuple(reader for reader in self.nodes if node.name in reader.inputs) for node in self.nodes}

    def layers(self) -> Iterator[Node]:
        """The nodes with weights, in order."""
        return (node for node in self.nodes if node.is_layer)

    def with_normalization(self) -> "Graph":
        """The same with a node between the pixels and what reads them."""
        pixels, *others = self.nodes
        normalize = Node(NORMALIZATION, Normalize(), (PIXELS,), kind=NORMALIZATION, block=NORMALIZATION)
        renamed = {PIXELS: NORMALIZATION}
        behind = (replace(each, inputs=tuple(renamed.get(name, name) for name in each.inputs)) for each in others)
        return Graph((pixels, normalize, *behind))

    @property
    def head(self) -> Node:
        """The node that the last average over all positions reads; without one, that which the last layer reads."""
        averages = [
            node for node in self.nodes if isinstance(node.operation, AveragePool) and not node.operation.kernel
        ]
        return self[(averages or [*self.layers()])[-1].inputs[0]]

    def origins(self, name: str) -> tuple[str, ...]:
        """The nodes whose integer codes the node `name` puts out: itself, unless it only moves values."""
        node = self[name]
        if not isinstance(node.operation, MOVES):
            return (name,)
        return tuple(dict.fromkeys(origin for source in node.inputs for origin in self.origins(source)))

    def is_signed(self, name: str) -> bool:
        """Whether a node may put out negative numbers: not behind a ReLU, nor where it reads none."""
        node = self[name]
        if node.bounds.low >= 0 or node.operation == Lookup("sigmoid"):
            return False
        keeps_sign = isinstance(node.operation, (Add, Mul, AveragePool, *MOVES))
        return not keeps_sign or any(self.is_signed(source) for source in node.inputs)

    def real_readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that compute with what the node `name` puts out, directly or through nodes that move values."""
        found: list[Node] = []
        for reader in self.readers[name]:
            found += self.real_readers(reader.name) if isinstance(reader.operation, MOVES) else [reader]
        return tuple(dict.fromkeys(found))
