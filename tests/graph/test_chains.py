"""Chains: which layers may rescale the channels between them, told from the edges alone."""

import pytest
import torch.nn.functional as F
import torchvision
from small_networks import model_config
from torch import Tensor, nn

from selectq.graph.capture import capture
from selectq.graph.chains import chains
from selectq.networks.build import build_network


def names(model: nn.Module) -> list[tuple[str, ...]]:
    return [tuple(layer.name for layer in chain) for chain in chains(capture(model))]


def test_chains_of_mobilenetv2_are_its_blocks() -> None:
    found = names(build_network(model_config(), 10))
    assert found[:2] == [
        ("features.1.conv.0.0", "features.1.conv.1"),
        ("features.2.conv.0.0", "features.2.conv.1.0", "features.2.conv.2"),
    ]
    assert len(found) == 17 and {len(chain) for chain in found[1:]} == {3}


def test_dense_layers_end_a_chain_and_begin_the_next() -> None:
    found = names(torchvision.models.resnet50())
    assert found[:2] == [("layer1.0.conv1", "layer1.0.conv2"), ("layer1.0.conv2", "layer1.0.conv3")]
    assert len(found) == 2 * 16


def test_nothing_is_chained_through_a_bound_that_does_not_scale() -> None:
    assert names(torchvision.models.mobilenet_v2()) == []


class Row(nn.Module):
    """Convolutions one after another, what is between them is given."""

    def __init__(self, between: nn.Module, *, again: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.stem, self.one, self.other = (nn.Conv2d(channels, 4, 1) for channels in (3, 4, 4))
        self.between, self.again, self.twice = between, again, twice
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(F.relu(self.stem(x))))
        y = self.other(self.between(x))
        y = y + x if self.again else self.other(F.relu(y)) if self.twice else y
        logits: Tensor = self.last(F.relu(y).mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("between", "linked"),
    [(nn.Identity(), True), (nn.MaxPool2d(3, 2, 1), True), (nn.AvgPool2d(2), False), (nn.Sigmoid(), False)],
    ids=["nothing", "max pool", "average", "sigmoid"],
)
def test_what_may_lie_between_two_layers(between: nn.Module, linked: bool) -> None:
    assert names(Row(between)) == ([("one", "other")] if linked else [])


def test_what_another_reads_keeps_its_scale() -> None:
    assert names(Row(nn.Identity(), again=True)) == []
    assert names(torchvision.models.squeezenet1_1()) == [], "two convolutions read each of the squeezing ones"


def test_layer_that_is_called_twice_is_in_no_chain() -> None:
    assert names(Row(nn.Identity(), twice=True)) == []
