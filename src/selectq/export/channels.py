"""Which channels a node reads, through nodes that only choose channels and order them.

Where a convolution reads them, their order can be that of its weights: neither a shuffle nor a slice is then a node of
the program. What is left is a cut of each tensor, where it is made, and a concatenation where pieces are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from selectq.graph.nodes import Concat, Graph, Node, Shuffle, Slice

CHANNEL_MOVES = (Concat, Slice, Shuffle)

Channel = tuple[str, int]
"""A node that puts out channels of its own, and the place of one among them."""


@dataclass(frozen=True)
class Piece:
    """Channels `start` to `stop` of what the node `source` puts out."""

    source: str
    start: int
    stop: int


@dataclass(frozen=True)
class Reading:
    """Pieces, one behind another; the channel at place i of theirs is to be read at the place `order[i]`."""

    pieces: tuple[Piece, ...]
    order: tuple[int, ...]

    @property
    def is_ordered(self) -> bool:
        """Whether they lie as they are to be read."""
        return list(self.order) == list(range(len(self.order)))

    @property
    def places(self) -> list[int]:
        """For each place at which one is read, where it lies."""
        return sorted(range(len(self.order)), key=lambda place: self.order[place])


class Channels:
    """The channels of all nodes of a graph; `shapes` are those of what the nodes put out, without the batch."""

    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph, self._of = graph, dict[str, tuple[Channel, ...]]()
        for node in graph.nodes:
            self._of[node.name] = self._channels(node, shapes[node.name][0])

    def reading(self, name: str) -> Reading:
        """How to read what the node `name` puts out: in as few pieces as there are, in their own order or that."""
        channels = self._of[name]
        tensors = list(dict.fromkeys(source for source, _ in channels))
        ascending = sorted(range(len(channels)), key=lambda i: (tensors.index(channels[i][0]), channels[i][1]))
        readings = [_reading(channels, order) for order in (range(len(channels)), ascending)]
        return min(readings, key=lambda reading: len(reading.pieces))

    def cuts(self, source: str) -> list[int]:
        """Where the channels of a node are to be cut, so that all pieces that are read of it lie between cuts."""
        return sorted(self._cuts.get(source, set()) | {0, len(self._of[source])})

    @cached_property
    def _cuts(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        nodes = [node for node in self._graph.nodes if not isinstance(node.operation, CHANNEL_MOVES)]
        for name in (*(name for node in nodes for name in node.inputs), self._graph.output.name):
            for piece in self.reading(name).pieces:
                found.setdefault(piece.source, set()).update((piece.start, piece.stop))
        return found

    def _channels(self, node: Node, count: int) -> tuple[Channel, ...]:
        match node.operation:
            case Concat():
                return tuple(channel for name in node.inputs for channel in self._of[name])
            case Slice(start, stop):
                return self._of[node.inputs[0]][start:stop]
            case Shuffle(groups):
                read = self._of[node.inputs[0]]
                return tuple(read[place % groups * (count // groups) + place // groups] for place in range(count))
        return tuple((node.name, place) for place in range(count))


def _reading(channels: Sequence[Channel], order: Sequence[int]) -> Reading:
    pieces: list[Piece] = []
    for place in order:
        source, channel = channels[place]
        if pieces and (pieces[-1].source, pieces[-1].stop) == (source, channel):
            pieces[-1] = Piece(source, pieces[-1].start, channel + 1)
        else:
            pieces.append(Piece(source, channel, channel + 1))
    return Reading(tuple(pieces), tuple(order))
