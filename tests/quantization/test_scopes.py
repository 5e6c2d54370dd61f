"""Scopes: what they count, what they name, and that training leaves everything else as it was, bit for bit."""

import contextlib
import copy
import dataclasses
from typing import Any

import pytest
import torch
import torchvision
from small_networks import (
    IMAGE_SIZE,
    Unsaved,
    calibration,
    coloured_dataset,
    committed_params,
    model_config,
    plan,
    quantized,
    scheme,
    trained,
)
from torch import Tensor
from torchvision.models import MobileNetV2

from selectq.config.configs import ActivationScheme, BitWidths, QatTrainingConfig, WeightScheme
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.build import build_network
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.scopes import (
    check_network,
    count_parameters,
    freeze_outside,
    parameters_in_scope,
    quantizers_in_scope,
    require_kinds,
)
from selectq.training.loop import fit
from selectq.training.qat import RangeFollower, batches_and_forward, build_optimizer

PAPER = {"full": 2_236_682, "clf": 12_810, "dw": 77_034, "dwpw": 1_040_234, "dwpw_asym": 1_040_234}
COMMITTED = committed_params()
CONVOLUTIONS = "stem, expansion, depthwise, projection, head"


@pytest.fixture(scope="module")
def model() -> MobileNetV2:
    return build_network(model_config(width_mult=1.0), 10)


def count(model: MobileNetV2, *scope: str) -> int:
    return count_parameters(model, parameters_in_scope(model, scope))


@pytest.mark.parametrize(("name", "expected"), PAPER.items())
def test_committed_scopes_hold_the_paper_s_counts(name: str, expected: int, model: MobileNetV2) -> None:
    assert count(model, *COMMITTED.qat[name].scope) == expected


def graph_kinds(graph: Graph) -> set[str]:
    return {layer.kind for layer in graph.layers()} | {"batchnorm"}


def test_kinds_divide_the_network(model: MobileNetV2) -> None:
    graph = capture(model)
    scopes = [parameters_in_scope(model, [kind], graph) for kind in graph_kinds(graph)]
    assert frozenset().union(*scopes) == parameters_in_scope(model, ["all"])
    assert sum(map(len, scopes)) == len(parameters_in_scope(model, ["all"]))


def test_module_name_takes_in_all_below_it(model: MobileNetV2) -> None:
    names = parameters_in_scope(model, ["features.14"])
    assert names == {name for name, _ in model.named_parameters() if name.startswith("features.14.")}
    assert "features.14.conv.0.1.weight" in names, "with its batch norms"
    assert parameters_in_scope(model, ["features.1"]).isdisjoint(names)


def test_kind_comes_before_a_module_of_that_name() -> None:
    """MobileNetV3 calls its head and its classifier `classifier`."""
    network = torchvision.models.mobilenet_v3_small(num_classes=10)
    assert parameters_in_scope(network, ["classifier"]) == {"classifier.3.weight", "classifier.3.bias"}


def test_convolution_s_name_leaves_out_its_batch_norm(model: MobileNetV2) -> None:
    assert parameters_in_scope(model, ["features.14.conv.1.0"]) == {"features.14.conv.1.0.weight"}
    assert parameters_in_scope(model, ["features.14.conv.1.1"]) == {
        "features.14.conv.1.1.weight",
        "features.14.conv.1.1.bias",
    }


def test_parameter_has_a_name_too() -> None:
    """Where a layer is called as a kind is."""
    network = torchvision.models.mobilenet_v3_small(num_classes=10)
    assert parameters_in_scope(network, ["classifier.3.weight"]) == {"classifier.3.weight"}


def test_entries_add_up(model: MobileNetV2) -> None:
    both = parameters_in_scope(model, ["classifier", "features.14", "features.14.conv.1.0"])
    assert both == parameters_in_scope(model, ["classifier"]) | parameters_in_scope(model, ["features.14"])


@pytest.mark.parametrize("entry", ["features.19", "features.14.conv.9", "classifier.0", "depth", "feature", ""])
def test_unknown_entry_is_refused(entry: str, model: MobileNetV2) -> None:
    with pytest.raises(UserError) as refusal:
        parameters_in_scope(model, ["classifier", entry])
    message = str(refusal.value)
    has = "stem, expansion, depthwise, projection, head, classifier, batchnorm"
    assert message.startswith(f"scope: {entry!r} names no layer of MobileNetV2; it has: {has}")
    closest = message.partition("; closest: ")[2].split(", ")
    assert closest[0] == {"features.19": "features.9", "depth": "depthwise", "": ""}.get(entry, closest[0])
    assert "\n" not in message


def test_kind_that_a_network_has_not_is_refused() -> None:
    network = torchvision.models.resnet18()
    with pytest.raises(UserError) as refusal:
        parameters_in_scope(network, ["depthwise"])
    has = "stem, projection, dense, classifier, batchnorm"
    assert str(refusal.value) == f"scope: 'depthwise' names no layer of ResNet; it has: {has}"


@pytest.mark.parametrize(
    ("weights", "activations", "message"),
    [
        (
            {"all": 4, "dense": 8},
            8,
            f"weights.bits: 'dense' names no layer of this network; it has: {CONVOLUTIONS}, cla",
        ),
        (
            8,
            {"all": 4, "lookup": 8},
            f"activations.bits: 'lookup' names no layer of this network; it has: {CONVOLUTIONS}",
        ),
        (
            {"all": 8, "features.14.conv.1": 4},
            8,
            r"weights.bits: 'features.14.conv.1' names no layer of this network; .*; closest: features.14.conv.1.0,",
        ),
        (8, {"all": 8, "classifier.1": 4}, "activations.bits: 'classifier.1' names no layer of this network;"),
        ({"all": 4, "stem": 8}, {"all": 4, "block": 8, "pool": 8}, None),
        ({"all": 4, "features.14.conv.1.0": 8}, {"all": 4, "features.14.conv.1.0": 8}, None),
    ],
)
def test_bits_of_a_kind_that_a_network_has_not_are_refused(
    weights: BitWidths, activations: BitWidths, message: str | None, model: MobileNetV2
) -> None:
    chosen = Scheme(WeightScheme(weights, "channel"), ActivationScheme(activations, symmetric=False))
    with pytest.raises(UserError, match=f"^{message}") if message else contextlib.nullcontext():
        require_kinds(capture(model), chosen)


def test_widths_of_what_shares_a_scale_are_one() -> None:
    """The integer codes of both expansions are put side by side."""
    graph, weights = capture(torchvision.models.squeezenet1_1()), WeightScheme(8, "channel")
    one, other = "features.3.expand1x1", "features.3.expand3x3"
    require_kinds(graph, Scheme(weights, ActivationScheme({"all": 8, one: 4, other: 4}, symmetric=False)))
    with pytest.raises(UserError) as refusal:
        require_kinds(graph, Scheme(weights, ActivationScheme({"all": 8, one: 4}, symmetric=False)))
    message = f"activations.bits: {one} (4) and {other} (8) share a scale; allowed: one width for both"
    assert str(refusal.value) == message


def test_committed_parameters_fit_the_network(model: MobileNetV2) -> None:
    check_network(model, COMMITTED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"drift": {"inspect": ("features.14.conv.1",)}},
            r"drift\.inspect: 'features\.14\.conv\.1' is no convolution;",
        ),
        (
            {"qat": {"dw": {"scope": ("features.99",)}}},
            r"qat\.dw\.scope: 'features\.99' names no layer of MobileNetV2;",
        ),
        (
            {"ptq": {"channel": {"weights": WeightScheme({"all": 8, "dense": 8}, "channel")}}},
            r"ptq\.channel\.weights\.bits",
        ),
    ],
)
def test_names_are_checked_before_any_work(changes: dict[str, Any], message: str, model: MobileNetV2) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        check_network(model, changed_params(COMMITTED, changes))


def test_skew_of_a_network_that_bounds_everything_is_refused() -> None:
    skewed = dataclasses.replace(COMMITTED, range_skew=1.0)
    with pytest.raises(UserError, match=r"^range_skew: 1 needs"):
        check_network(build_network(model_config("as_is"), 10), skewed)


def changed_params(config: Any, changes: dict[str, Any]) -> Any:
    """A config with some values changed, as deep as the changes go."""
    if isinstance(config, dict):
        return config | {name: changed_params(config[name], each) for name, each in changes.items()}
    nested = {
        name: changed_params(getattr(config, name), each) if isinstance(each, dict) else each
        for name, each in changes.items()
    }
    return dataclasses.replace(config, **nested)


def learning_names(network: Network) -> set[str]:
    return {
        f"{layer.name}.{part}"
        for layer in network.layers()
        for part, parameter in (("weight", layer.weight), ("bias", layer.bias))
        if parameter.requires_grad
    }


@pytest.mark.parametrize(
    ("scope", "learning"),
    [
        (("features.14.conv.1.0",), {"features.14.conv.1.0.weight"}),
        (("features.14.conv.1",), {"features.14.conv.1.0.weight", "features.14.conv.1.0.bias"}),
        (("features.14.conv.1.1",), {"features.14.conv.1.0.bias"}),
        (("classifier",), {"classifier.1.weight", "classifier.1.bias"}),
        (("stem", "head"), {"features.0.0.weight", "features.18.0.weight"}),
    ],
)
def test_fused_parameters_that_learn(scope: tuple[str, ...], learning: set[str], model: MobileNetV2) -> None:
    network = fold(model)
    parameters = freeze_outside(network, parameters_in_scope(model, scope))
    assert learning_names(network) == learning
    assert len(parameters) == len(learning) and all(parameter.requires_grad for parameter in parameters)


def test_a_narrower_scope_freezes_what_a_wider_one_let_learn(model: MobileNetV2) -> None:
    network = fold(model)
    assert len(freeze_outside(network, parameters_in_scope(model, ["all"]))) == 2 * 53
    freeze_outside(network, parameters_in_scope(model, ["classifier"]))
    assert learning_names(network) == {"classifier.1.weight", "classifier.1.bias"}


@pytest.mark.parametrize(
    ("scope", "following"),
    [
        (("classifier",), set()),
        (("stem",), {"features.0.0"}),
        (("head",), {"features.18.0", "pool"}),
        (("features.12.conv.2",), {"features.12", "features.12.conv.2"}),  # the projection and the sum it goes into
        (("features.12.conv.3",), {"features.12", "features.12.conv.2"}),  # its bias alone
        (("features.17",), {"features.17.conv.0.0", "features.17.conv.1.0", "features.17.conv.2"}),  # has no sum
    ],
)
def test_ranges_that_follow_the_data(scope: tuple[str, ...], following: set[str]) -> None:
    network = quantized(scheme())
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    quantizers = quantizers_in_scope(network)
    assert {place.name for place in network.sites() if place.activation in quantizers} == following
    assert len(quantizers) == len(following)


def training_config(optimizer: str) -> QatTrainingConfig:
    return QatTrainingConfig(
        batch_size=8,
        optimizer=optimizer,  # type: ignore[arg-type]
        momentum=0.9,
        weight_decay=0.01,
        warmup_epochs=0.0,
        range_epochs=1.0,
        range_averaging=0.3,
        feature_views=2,
        calibration=calibration(),
        algorithms=(),
        augment=COMMITTED.qat_training.augment,
    )


def by_layer(network: Network) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of weights and biases, and of activation ranges (low and high as one tensor), by FP32 name."""
    parameters = {}
    for layer in network.layers():
        parameters |= {f"{layer.name}.{part}": getattr(layer, part).detach().clone() for part in ("weight", "bias")}
    ranges = {place.name: torch.stack([place.activation.low, place.activation.high]) for place in network.sites()}
    return parameters, ranges


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


BY_LAYERS = dataclasses.replace(COMMITTED.qat["dwpw_asym"], scope=("features.3.conv.1.0", "features.14.conv.2"))
SCOPES = {**COMMITTED.qat, "by_layers": BY_LAYERS}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", SCOPES)
def test_training_changes_what_is_in_scope_and_not_one_bit_beside(name: str, optimizer: str) -> None:
    config, training = SCOPES[name], training_config(optimizer)
    dataset, fp32 = coloured_dataset(train=32, size=IMAGE_SIZE), trained()
    network = quantize(fp32, dataset, training.calibration, Scheme(config.weights, config.activations), seed=0)
    names = parameters_in_scope(fp32.model, config.scope)
    optimiser = build_optimizer(freeze_outside(network, names), config, training)
    quantizers = quantizers_in_scope(network)
    expected = learning_names(network)
    expected_ranges = {place.name for place in network.sites() if place.activation in quantizers}
    fp32_state = copy.deepcopy(fp32.model.state_dict())
    parameters, ranges = by_layer(network)

    batches, forward = batches_and_forward(network, dataset.train, config, training, seed=0)
    chosen = plan(network, dataset, lr=config.lr)
    chosen = dataclasses.replace(chosen, batches=batches, forward=forward, hooks=RangeFollower(quantizers, training))
    fit(network, optimiser, dataset, chosen, Unsaved())

    parameters_after, ranges_after = by_layer(network)
    assert changed(parameters, parameters_after) == expected
    assert changed(ranges, ranges_after) == expected_ranges
    assert not changed(fp32_state, dict(fp32.model.state_dict())), "the FP32 network is not trained along"
    assert bool(expected_ranges) == (name != "clf")
