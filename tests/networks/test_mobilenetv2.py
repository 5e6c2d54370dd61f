"""The FP32 network: torchvision's parameters under a chosen geometry."""

import dataclasses
from collections import Counter

import pytest
import torch
from small_networks import model_config
from torch import nn
from torchvision.models import mobilenet_v2

from selectq.networks.mobilenetv2 import build_mobilenetv2


def test_paper_geometry_is_torchvisions_network() -> None:
    torch.manual_seed(0)
    model = build_mobilenetv2(model_config("relu6", 2, (1, 2, 2, 2, 1, 2, 1)), 10)
    torch.manual_seed(0)
    peer = mobilenet_v2(num_classes=10)
    assert list(model.state_dict()) == list(peer.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), peer.eval()(x))


@pytest.mark.parametrize(
    ("stem_stride", "stage_strides", "side"),
    [(1, (1,) * 7, 32), (1, (1, 2, 2, 2, 1, 2, 1), 2), (2, (1, 2, 2, 2, 1, 2, 1), 1), (2, (1, 1, 2, 1, 1, 2, 1), 4)],
)
def test_strides_set_the_feature_map_and_nothing_else(
    stem_stride: int, stage_strides: tuple[int, ...], side: int
) -> None:
    model = build_mobilenetv2(model_config("relu", stem_stride, stage_strides), 10).eval()
    with torch.no_grad():
        assert model.features(torch.zeros(1, 3, 32, 32)).shape == (1, 1280, side, side)
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in mobilenet_v2(num_classes=10).state_dict().items()
    }


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("relu6", nn.ReLU6)])
def test_activation_is_the_one_asked_for(activation: str, kind: type[nn.Module]) -> None:
    model = build_mobilenetv2(model_config(activation), 10)
    activations = Counter(type(module) for module in model.modules() if isinstance(module, nn.ReLU | nn.ReLU6))
    assert activations == {kind: 35}


def test_dropout_is_the_one_asked_for() -> None:
    asked = dataclasses.replace(model_config(), dropout=0.35)
    assert build_mobilenetv2(asked, 10).classifier[0].p == 0.35
