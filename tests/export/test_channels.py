"""Channels that are moved lie where the program reads them, in few pieces."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_networks import export, exported, images
from small_networks import CLASSES, scheme
from torch import Tensor, nn

from selectq.export.channels import CHANNEL_MOVES, Channels, Piece
from selectq.export.formats import write_program
from selectq.export.onnx_graph import node_shapes
from selectq.graph.nodes import PIXELS, Concat, Conv, Graph, Input, Node, Shuffle, Slice
from selectq.programs.program import open_program

SIZE = 48


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "custom", "squeezenet1_1"])
def test_pieces_are_what_is_read(name: str) -> None:
    """Every channel that some node puts out has a number of its own, which moves carry along."""
    network = exported(name).simulation
    shapes, numbered, moved = node_shapes(network, SIZE), 0, 0
    channels, outputs = Channels(network.graph, shapes), dict[str, Tensor]()
    for node in network.graph.nodes:
        if isinstance(node.operation, CHANNEL_MOVES):
            outputs[node.name] = network[node.name](*(outputs[source] for source in node.inputs))
            reading = channels.reading(node.name)
            pieces = torch.cat([outputs[piece.source][:, piece.start : piece.stop] for piece in reading.pieces], 1)
            assert torch.equal(pieces[:, reading.places], outputs[node.name])
            assert torch.equal(outputs[node.name][:, list(reading.order)], pieces)
            moved += 1
        else:
            count = shapes[node.name][0]
            outputs[node.name] = torch.arange(numbered, numbered + count, dtype=torch.float)[None, :, None, None]
            numbered += count
    assert moved


def small_graph(*moves: Node) -> Channels:
    """Two tensors of 4 channels, some moves, and a convolution that reads the last."""
    conv = Conv("some", None, depthwise=False, pointwise=True, groups=1)
    given = [Node(PIXELS, Input(), ()), Node("a", conv, (PIXELS,)), Node("b", conv, (PIXELS,))]
    nodes = (*given, *moves, Node("read", conv, (moves[-1].name,)))
    return Channels(
        Graph(nodes),
        dict.fromkeys([node.name for node in nodes], (4, 1, 1)) | dict.fromkeys(("both", "shuffled"), (8, 1, 1)),
    )


def test_a_half_of_a_shuffle_is_a_half_of_each() -> None:
    channels = small_graph(
        Node("both", Concat(), ("b", "a")),
        Node("shuffled", Shuffle(2), ("both",)),
        Node("half", Slice(4, 8), ("shuffled",)),
    )
    reading = channels.reading("half")
    assert reading.pieces == (Piece("b", 2, 4), Piece("a", 2, 4))
    assert reading.order == (0, 2, 1, 3) and reading.places == [0, 2, 1, 3] and not reading.is_ordered
    assert channels.cuts("a") == channels.cuts("b") == [0, 2, 4]


def test_what_is_joined_twice_stays_whole() -> None:
    channels = small_graph(Node("both", Concat(), ("a", "a")))
    reading = channels.reading("both")
    assert reading.pieces == (Piece("a", 0, 4), Piece("a", 0, 4)) and reading.is_ordered
    assert channels.cuts("a") == [0, 4]


def test_a_program_has_no_shuffle(tmp_path: Path) -> None:
    program = exported("shufflenet_v2_x1_0")
    path = tmp_path / "some.onnx"
    write_program(path, program.reference, program.manifest)
    found = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert "Transpose" not in found and "Slice" not in found
    assert found["Gather"] == 2, "two stages begin with a depthwise layer that reads all channels in their order"
    assert found["Concat"] == found["Split"] == 16


class EndsInASlice(nn.Module):
    """One half of its classifier's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.last = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2 * len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(self.conv(x).relu()).flatten(1)).chunk(2, 1)[1]


def test_logits_may_be_a_slice() -> None:
    made, pixels = export(EndsInASlice(), scheme()), images(20)
    found = open_program(made.path()).logits(pixels.numpy())
    assert np.allclose(found, made.reference(pixels).numpy(), rtol=0, atol=1e-4) and np.ptp(found, axis=0).min() > 0.01
