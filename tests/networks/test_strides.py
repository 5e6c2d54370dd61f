"""Strides are removed in order of execution, those of parallel branches together; parameters do not depend on it."""

import pytest
import torch
from small_networks import model_config, same_tensors
from torch import nn

from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.networks.strides import remove_strides, strided_layers


def network(name: str, strides_removed: int) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model_config("as_is", strides_removed, name), 10).eval()


def strides(model: nn.Module, pattern: str) -> list[int]:
    """Of MobileNetV2's convolutions whose weights' shape ends in `pattern`, in network order."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [module.stride[0] for module in convolutions if str(list(module.weight.shape)).endswith(pattern)]


@pytest.mark.parametrize(
    ("removed", "stem", "stages"),
    [(0, 2, (1, 2, 2, 2, 1, 2, 1)), (1, 1, (1, 2, 2, 2, 1, 2, 1)), (2, 1, (1, 1, 2, 2, 1, 2, 1))],
)
def test_mobilenetv2_has_the_geometry_of_the_studies(removed: int, stem: int, stages: tuple[int, ...]) -> None:
    """Sandler et al. 2018, table 2: how often the stages repeat their block; the first one has the stride."""
    blocks = zip(stages, (1, 2, 3, 4, 3, 3, 1), strict=True)
    expected = [stride for first, repeats in blocks for stride in [first] + [1] * (repeats - 1)]
    model = network("mobilenet_v2", removed)
    assert strides(model, "3, 3, 3]") == [stem]
    assert strides(model, "1, 3, 3]") == expected


@pytest.mark.parametrize(
    ("name", "parallel"),
    [
        ("mobilenet_v2", [1, 1, 1, 1, 1]),
        ("resnet18", [1, 1, 2, 2, 2]),  # each stage's first block and its shortcut
        ("shufflenet_v2_x0_5", [1, 1, 2, 2, 2]),  # both branches
        ("regnet_y_400mf", [1, 2, 2, 2, 2]),
        ("efficientnet_b0", [1, 1, 1, 1, 1]),
        ("densenet121", [1, 1, 1, 1, 1]),
        ("squeezenet1_1", [1, 1, 1, 1]),
        ("convnext_tiny", [1, 1, 1, 1]),
    ],
)
def test_resolution_falls_where_layers_are_found(name: str, parallel: list[int]) -> None:
    assert [len(layers) for layers in strided_layers(network(name, 0))] == parallel


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
@pytest.mark.parametrize("removed", [1, 2, 3])
@torch.no_grad()
def test_first_strides_are_removed_and_nothing_else(name: str, removed: int) -> None:
    plain, changed = network(name, 0), network(name, removed)
    assert same_tensors(plain, changed), "running statistics, too"
    heights = []
    for model in (plain, changed):
        *_, last = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
        last.register_forward_hook(lambda module, inputs, output: heights.append(output.shape[-1]))
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    assert heights[1] == heights[0] * 2**removed


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"^model.strides_removed: 6; the network has 5; allowed: 0 to 5$"):
        network("mobilenet_v2", 6)


def test_network_that_takes_no_small_image_is_tried_with_a_larger_one() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] < 100:
                raise ValueError("too small")
            y: torch.Tensor = self.conv(x).mean((2, 3))
            return y

    model = Picky()
    remove_strides(model, 1)
    assert model.conv.stride == (1, 1) and model.training
    with pytest.raises(UserError, match=r"takes no image of 64 or 299 pixels \(.*\)$"):
        remove_strides(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), 1)
