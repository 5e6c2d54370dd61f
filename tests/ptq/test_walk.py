"""A walk gives what the network gives, bit for bit, and keeps no more than is read later."""

import pytest
import torch
from small_networks import float_images, quantized, scheme, trained

from selectq.graph.nodes import PIXELS
from selectq.ptq.walk import Walk, outputs_of, single_nodes
from selectq.quantization.folding import fold
from selectq.quantization.network import Block, Network


def units_of(network: Network, blocks: bool) -> list[Block]:
    return network.blocks() if blocks else single_nodes(network.graph)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("form", ["float", "quantized"])
def test_values_are_those_of_the_network(form: str, blocks: bool) -> None:
    network = fold(trained().model) if form == "float" else quantized(scheme(4))
    images, expected = float_images(7, seed=3), dict[str, torch.Tensor]()
    with torch.no_grad():
        for batch in images.split([4, 3]):
            network.watched(batch, lambda module, output: expected.update({str(module.name): output}))
            break
    walk, seen = Walk(network, images, [4, 3]), set[str]()
    for unit in units_of(network, blocks):
        walk.compute(unit)
        for name, values in next(walk.batches(outputs_of(network.graph, unit))).items():
            assert torch.equal(values, expected[name]), name
            seen.add(name)
        walk.release(unit)
    assert network.graph.output.name in seen and len(seen) > 10


def test_all_images_are_read_in_order_or_as_chosen() -> None:
    network, images = quantized(scheme()), float_images(7, seed=3)
    walk, unit = Walk(network, images, [4, 3]), single_nodes(network.graph)[0]
    walk.compute(unit)
    whole = torch.cat([given[unit.output] for given in walk.batches([unit.output])])
    with torch.no_grad():
        assert torch.equal(whole, network.compute(unit.output, {PIXELS: images}))
    chosen = torch.tensor([5, 0])
    assert torch.equal(walk.read([unit.output], chosen)[unit.output], whole[chosen])
    assert len(walk) == 7


def test_nothing_is_kept_that_nobody_reads_and_codes_take_a_byte() -> None:
    network, images = quantized(scheme()), float_images(4, seed=3)
    walk = Walk(network, images, [4])
    for unit in single_nodes(network.graph):
        walk.compute(unit)
        walk.release(unit)
        later = {name for node in network.graph.nodes if node.name not in unit.nodes for name in node.inputs}
        assert set(walk._kept) <= later, unit.name
        assert len(walk._kept) <= 2, "the block's input, where it is added, and what was put out last"
        assert all(values.dtype == torch.uint8 for name, values in walk._kept.items() if name != PIXELS)
    assert not walk._kept
