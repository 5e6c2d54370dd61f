"""Drift on networks whose answer is known."""

import copy
import math

import pandas as pd
import pytest
import torch
from small_networks import float_images, quantized, scheme, trained
from torch import Tensor, nn

from selectq.analysis.drift import DRIFT_COLUMNS, Reference, RelativeError, measure_drift
from selectq.kernels.quantized_step import QuantizedStep
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode, Network
from selectq.quantization.quantized import Scheme

LAYER = "features.5.conv.1.0"  # the depthwise convolution of a block with a residual sum
BLOCK = 5


class ScaledActivation(nn.Module):
    """A layer's own activation, its result scaled by a known factor: a drift of `factor - 1` there."""

    def __init__(self, activation: nn.Module, factor: float) -> None:
        super().__init__()
        self.activation = activation
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.activation(x)


def float_network() -> Network:
    return fold(trained().model)


def scaled_at(name: str, factor: float) -> Network:
    """The float network with the stored output of one layer scaled."""
    network = float_network()
    (place,) = (layer for layer in network.layers() if isinstance(layer, ConvNode) and layer.name == name)
    place.activation = ScaledActivation(place.activation, factor)
    return network


def drift_of(network: Network, batches: list[Tensor]) -> pd.DataFrame:
    return measure_drift(float_network(), network, batches)


def layers(table: pd.DataFrame, kind: str) -> pd.Series:
    """Drift of the layers by name, in network order."""
    chosen = table[(table.kind == kind) & (table.layer_kind != "block")].sort_values("index")
    return chosen.set_index("layer").drift


def blocks(table: pd.DataFrame, kind: str) -> pd.Series:
    return table[(table.kind == kind) & (table.layer_kind == "block")].set_index("index").drift


def test_relative_error_by_hand() -> None:
    error = RelativeError()
    error.add(Reference(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 3.0]))
    assert error.value() == pytest.approx(1 / 5)
    error.add(Reference(torch.tensor([[0.0], [12.0]])), torch.tensor([[2.0], [12.0]]))
    assert error.value() == pytest.approx(math.sqrt(5 / 169)), "over both batches, not their mean"


def test_relative_error_without_a_reference() -> None:
    error = RelativeError()
    error.add(Reference(torch.zeros(3)), torch.zeros(3))
    assert error.value() == 0.0
    error.add(Reference(torch.zeros(3)), torch.ones(3))
    assert error.value() == 1.0


def test_relative_error_is_added_up_in_double_precision() -> None:
    error = RelativeError()
    for _ in range(3):
        error.add(Reference(torch.full((1000, 1000), 1e4)), torch.full((1000, 1000), 1e4 + 1))
    assert error.value() == pytest.approx(1e-4, rel=1e-12)


@pytest.mark.parametrize("factor", [1.25, 0.5])
def test_error_put_into_one_layer_is_found_there(factor: float) -> None:
    table = drift_of(scaled_at(LAYER, factor), [float_images(8, seed=3)])
    isolated, accumulated = layers(table, "isolated"), layers(table, "accumulated")
    names = list(isolated.index)
    position = names.index(LAYER)
    assert isolated[LAYER] == accumulated[LAYER] == pytest.approx(abs(factor - 1), rel=1e-6)
    assert (isolated.drop(LAYER) == 0.0).all(), "where it starts"
    assert (accumulated[names[:position]] == 0.0).all()
    assert (accumulated[names[position:]] > 1e-4).all(), "where it shows"

    assert (blocks(table, "isolated").drop(BLOCK) == 0.0).all()
    assert (blocks(table, "accumulated").loc[: BLOCK - 1] == 0.0).all()
    assert (blocks(table, "accumulated").loc[BLOCK:] > 1e-4).all()
    assert blocks(table, "isolated")[BLOCK] == blocks(table, "accumulated")[BLOCK] > 1e-4


def test_block_without_a_residual_sum_drifts_as_its_last_layer() -> None:
    table = drift_of(scaled_at("features.1.conv.1", 1.5), [float_images(4, seed=3)])
    assert blocks(table, "isolated")[1] == layers(table, "isolated")["features.1.conv.1"] == pytest.approx(0.5)


def test_residual_sum_has_a_drift_of_its_own() -> None:
    network = float_network()
    total = network[f"features.{BLOCK}"]
    total.activation = ScaledActivation(total.activation, 1.1)
    table = drift_of(network, [float_images(4, seed=3)])
    assert blocks(table, "isolated")[BLOCK] == pytest.approx(0.1, rel=1e-5)
    assert (layers(table, "isolated") == 0.0).all()


def test_network_without_error_does_not_drift() -> None:
    assert (drift_of(float_network(), [float_images(4, seed=3)]).drift == 0.0).all()


def test_rows_name_every_block_and_layer() -> None:
    table = drift_of(quantized(scheme(granularity="tensor")), [float_images(4, seed=3)])
    assert list(table.columns) == DRIFT_COLUMNS
    assert len(table) == 2 * (19 + 53)
    assert not table.duplicated(["layer", "layer_kind", "kind"]).any()
    for _, part in table.groupby("kind"):
        of_blocks = part[part.layer_kind == "block"]
        assert list(of_blocks["index"]) == list(range(19))
        assert list(of_blocks.layer) == [f"features.{index}" for index in range(19)]
        assert list(part[part.layer_kind != "block"]["index"]) == list(range(53))
    assert (table.drift > 0).all()


def test_isolated_drift_by_brute_force() -> None:
    float_form, network = float_network(), quantized(scheme(4, bits=4))
    images = float_images(6, seed=3)
    table = measure_drift(float_form, network, [images])
    with torch.no_grad():
        x = images
        for index, block in enumerate(each for each in network.blocks() if each.name.startswith("features")):
            (read,) = block.inputs
            expected, found = (each.compute(block.output, {read: x}) for each in (float_form, network))
            drift = ((expected - found).norm() / expected.norm()).item()
            assert blocks(table, "isolated")[index] == pytest.approx(drift, rel=1e-4), index
            x = expected


def test_accumulated_drift_by_brute_force() -> None:
    float_form, network = float_network(), quantized(scheme(4, bits=4))
    images = float_images(6, seed=3)
    table = measure_drift(float_form, network, [images])
    with torch.no_grad():
        expected, found = float_form(images), network(images)
    drift = ((expected - found).norm() / expected.norm()).item()
    assert layers(table, "accumulated")["classifier.1"] == pytest.approx(drift, rel=1e-4)


def test_batches_add_up_and_networks_are_left_alone() -> None:
    images, network = float_images(12, seed=3), quantized(scheme())
    before = copy.deepcopy(network)
    whole, in_parts = drift_of(network, [images]), drift_of(network, list(images.split(5)))
    assert whole.drift.to_numpy() == pytest.approx(in_parts.drift.to_numpy(), rel=1e-3)
    assert not any(module._forward_hooks for module in network.modules())
    with torch.no_grad():
        assert torch.equal(network(images), before(images))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("chosen", [scheme(), scheme(4, granularity="tensor", bits=4)], ids=["8 bits", "4 bits"])
def test_kernels_measure_what_the_modules_do(chosen: Scheme) -> None:
    """A layer that reads the float network's values meets rounding ties, where single codes may differ."""
    network = quantized(chosen)
    batches = [float_images(6, seed=3), float_images(5, seed=4)]
    plain = measure_drift(float_network(), network, batches)
    fast = measure_drift(float_network(), network, batches, QuantizedStep)
    assert fast.drop(columns="drift").equals(plain.drop(columns="drift"))
    assert (plain.drift > 0).all()
    for kind, tolerance in {"accumulated": 1e-5, "isolated": 5e-3}.items():
        found, expected = (table[table.kind == kind].drift.to_numpy() for table in (fast, plain))
        assert found == pytest.approx(expected, rel=tolerance)
