"""Every parameter has one kind, told from the graph; of MobileNetV2 they hold the paper's counts."""

from collections import Counter

import pytest
import torchvision
from small_networks import model_config
from torch import nn

from selectq.config.configs import LAYER_KINDS
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.parameters import inspected_convolutions, parameter_kinds
from selectq.networks.build import build_network


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_network(model_config(width_mult=1.0), 10)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_every_parameter_has_one_kind(name: str) -> None:
    network = torchvision.models.get_model(name, weights=None)
    kinds = parameter_kinds(network)
    assert list(kinds) == [name for name, _ in network.named_parameters()]
    assert set(kinds.values()) <= set(LAYER_KINDS)


def test_kinds_hold_the_paper_s_parameter_counts(model: nn.Module) -> None:
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
def test_kind_of(name: str, kind: str, model: nn.Module) -> None:
    assert parameter_kinds(model)[name] == kind


def test_what_the_logits_do_not_depend_on_has_no_kind() -> None:
    network = torchvision.models.get_model("googlenet", weights=None, init_weights=False)
    assert not any(name.startswith("aux") for name in parameter_kinds(network))
    assert any(name.startswith("aux") for name, _ in network.named_parameters())


def test_convolutions_are_inspected_by_module_or_as_the_middle_of_a_kind(model: nn.Module) -> None:
    graph = capture(model)
    chosen = inspected_convolutions(graph, ["features.14.conv.1.0", "depthwise", "stem", "features.0.0"])
    assert chosen == ("features.14.conv.1.0", "features.9.conv.1.0", "features.0.0")


@pytest.mark.parametrize("name", ["features.14", "features.14.conv.1", "features.99.0", "dense", ""])
def test_unknown_convolution_is_refused(name: str, model: nn.Module) -> None:
    with pytest.raises(UserError) as refusal:
        inspected_convolutions(capture(model), ["features.0.0", name])
    message = str(refusal.value)
    assert message.startswith(f"drift.inspect: {name!r} is no convolution")
    assert message.endswith("; allowed: modules, or one of stem, depthwise, projection, expansion, head")
    assert ("; closest: features." in message) == name.startswith("features") and "\n" not in message
