"""The FP32 network: torchvision's parameters under a chosen geometry, every parameter of one kind."""

import dataclasses
import re
from collections import Counter

import pytest
import torch
from small_networks import model_config
from torch import nn
from torchvision.models import mobilenet_v2

from selectq.networks.mobilenetv2 import build_mobilenetv2, parameter_kinds
from selectq.params.configs import CONVOLUTION_NAMES, LAYER_KINDS


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


def test_every_parameter_has_one_kind() -> None:
    model = build_mobilenetv2(model_config(), 10)
    kinds = parameter_kinds(model)
    assert list(kinds) == [name for name, _ in model.named_parameters()]
    assert set(kinds.values()) == set(LAYER_KINDS)


def test_kinds_hold_the_paper_s_parameter_counts() -> None:
    model = build_mobilenetv2(model_config(), 10)
    sizes: Counter[str] = Counter()
    kinds = parameter_kinds(model)
    for name, parameter in model.named_parameters():
        sizes[kinds[name]] += parameter.numel()
    assert sum(sizes.values()) == 2_236_682
    assert (sizes["depthwise"], sizes["projection"], sizes["classifier"]) == (64_224, 963_200, 12_810)
    assert (sizes["stem"], sizes["head"]) == (864, 409_600)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("features.0.0.weight", "stem"),
        ("features.0.1.bias", "batchnorm"),
        ("features.1.conv.0.0.weight", "depthwise"),
        ("features.1.conv.1.weight", "projection"),
        ("features.1.conv.2.weight", "batchnorm"),
        ("features.14.conv.0.0.weight", "expansion"),
        ("features.14.conv.1.0.weight", "depthwise"),
        ("features.14.conv.2.weight", "projection"),
        ("features.14.conv.3.bias", "batchnorm"),
        ("features.18.0.weight", "head"),
        ("classifier.1.bias", "classifier"),
    ],
)
def test_kind_of(name: str, kind: str) -> None:
    assert parameter_kinds(build_mobilenetv2(model_config(), 10))[name] == kind


def test_names_of_convolutions_are_those_that_parameters_allow() -> None:
    modules = dict(build_mobilenetv2(model_config(), 3).named_modules())
    allowed = {name for name in modules if re.fullmatch(CONVOLUTION_NAMES, name)}
    assert allowed == {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
