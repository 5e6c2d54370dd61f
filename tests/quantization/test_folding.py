"""The fused network computes what the FP32 network computes, and knows where its parameters came from."""

import copy

import pytest
import torch
from small_networks import model_config, perturbed, random_network, trained

from selectq.graph.parameters import parameter_kinds
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode
from selectq.quantization.post_training import fold_fp32


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def relative_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / one.norm()).item()


@pytest.mark.parametrize(
    ("activation", "strides_removed"), [("relu", 0), ("as_is", 2), pytest.param("relu", 5, marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_fused_network_equals_the_fp32_network(activation: str, strides_removed: int) -> None:
    model = random_network(model_config(activation, strides_removed), seed=3)
    fused = fold(model)
    expected = model(images())
    assert relative_difference(expected, fused(images())) < 1e-12
    for name in ("features.18.1.running_var", "features.7.conv.3.bias", "features.0.1.running_mean"):
        assert relative_difference(expected, fold(perturbed(model, name))(images())) > 1e-8, name


@torch.no_grad()
def test_relu6_clips_in_both() -> None:
    model = random_network(model_config("as_is"), seed=3)
    unclipped = fold(random_network(model_config("relu"), seed=3))
    assert relative_difference(model(images()), unclipped(images())) > 0.01


@torch.no_grad()
def test_every_block_equals_its_own() -> None:
    model = random_network(model_config(), seed=4)
    fused = fold(model)
    x = images()
    blocks = [block for block in fused.blocks() if block.name.startswith("features")]
    for block, fused_block in zip(model.features, blocks, strict=True):
        (read,) = fused_block.inputs
        assert relative_difference(block(x), fused.compute(fused_block.output, {read: x})) < 1e-12
        x = block(x)


def test_folding_leaves_the_fp32_network_alone() -> None:
    model = random_network(model_config(), seed=5)
    before = copy.deepcopy(model.state_dict())
    fused = fold(model)
    with torch.no_grad():
        for parameter in fused.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not fused.training


def test_every_fp32_parameter_has_one_place_in_the_fused_network() -> None:
    model = trained().model
    layers = list(fold(model).layers())
    sources = [name for layer in layers for names in layer.sources.values() for name in names]
    assert sorted(sources) == sorted(parameter_kinds(model)) == sorted(name for name, _ in model.named_parameters())
    shapes = {name: value.shape for name, value in model.named_parameters()}
    for layer in layers:
        assert layer.name == layer.sources["weight"][0].removesuffix(".weight")
        assert layer.weight.shape == shapes[layer.sources["weight"][0]]
        assert all(layer.bias.shape == shapes[name] for name in layer.sources["bias"])


def test_layers_places_and_blocks_are_those_of_the_architecture() -> None:
    fused = fold(trained().model)
    kinds = [layer.kind for layer in fused.layers()]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {"stem": 1, "depthwise": 17, "projection": 17, "expansion": 16, "head": 1, "classifier": 1}
    assert kinds[:4] == ["stem", "depthwise", "projection", "expansion"], "in network order"
    places = [place.kind for place in fused.sites()]
    assert (len(places), places.count("block"), places.count("pool")) == (52 + 10 + 1, 10, 1)
    assert len([block for block in fused.blocks() if block.name.startswith("features")]) == 19


def test_projections_are_linear_and_the_rest_is_activated() -> None:
    for activation, ceiling in (("relu", float("inf")), ("as_is", 6.0)):
        fused = fold(random_network(model_config(activation), seed=0))
        for layer in fused.layers():
            if isinstance(layer, ConvNode):
                low, high = (-float("inf"), float("inf")) if layer.kind == "projection" else (0.0, ceiling)
                assert (layer.bounds.low, layer.bounds.high) == (low, high), layer.name


def test_fp32_is_folded_channels_last() -> None:
    fused = fold_fp32(trained(), torch.device("cpu"))
    weights = [layer.weight for layer in fused.layers() if isinstance(layer, ConvNode)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
