"""Every parameter of MobileNetV2 is of one kind."""

import re
from collections import Counter

import pytest
from small_networks import model_config
from torch import nn

from selectq.errors import UserError
from selectq.networks.mobilenetv2 import build_mobilenetv2, parameter_kinds
from selectq.params.configs import CONVOLUTION_NAMES, LAYER_KINDS


def test_another_network_cannot_be_quantized_yet() -> None:
    with pytest.raises(UserError, match=r"^model.network: resnet18 cannot be quantized yet; allowed: mobilenet_v2$"):
        build_mobilenetv2(model_config(network="resnet18"), 10)


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
