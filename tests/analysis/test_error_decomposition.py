"""Causes of error on networks whose answer is known."""

import copy
from itertools import pairwise

import pandas as pd
import pytest
import torch
from small_networks import calibration, coloured_dataset, float_images, quantized, same_tensors, scheme, trained
from torch import Tensor, nn

from selectq.analysis.drift import Reference, measure_drift
from selectq.analysis.error_decomposition import CAUSE_COLUMNS, CAUSES, TOTAL, Split, measure_causes
from selectq.graph.nodes import AveragePool, Node
from selectq.quantization.folding import fold
from selectq.quantization.network import ConvNode, FloatActivation, Identity, Network, PoolNode
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.quantizers import ActivationQuantizer

LAYER = "features.5.conv.1.0"  # the depthwise convolution of a block with a residual sum
SUM = "features.5"
ROUNDING = ["weight rounding", "clipping", "activation rounding"]


def fp32(activation: str = "relu") -> Network:
    return fold(trained(activation).model).to(memory_format=torch.channels_last)


def causes_of(network: Network, *batches: Tensor) -> pd.DataFrame:
    """Drift with units as rows and causes as columns, in network order."""
    table = measure_causes(fp32(), network, batches or (float_images(8, seed=3),))
    return table.pivot(index="layer", columns="cause", values="drift").loc[table["layer"].unique()]


class FixedParameters(nn.Module):
    """Reads what a quantizer made of the parameters, whatever becomes of the scales around the layer."""

    def __init__(self, layer: ConvNode) -> None:
        super().__init__()
        weight, bias = layer.weight_quantizer(layer.weight, layer.bias)
        self.values = weight.detach(), bias.detach()

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return self.values


def part_quantized(weights: bool, activations: bool, only: str | None = None) -> Network:
    """The network with 8-bit parameters, 8-bit activations, or both, everywhere or in one layer."""
    network = quantized(scheme())
    fixed = {layer: FixedParameters(layer) for layer in network.layers()}
    for layer in network.layers():
        here = weights and only in (None, layer.name)
        layer.weight_quantizer = fixed[layer] if here else Identity()
    for place in network.sites():
        if not (activations and only in (None, place.name)):
            place.activation = FloatActivation(place.bounds)
    return network


def outputs_of(float_form: Network, network: Network) -> dict[str, list[Tensor]]:
    """Of every unit: what it puts out as one cause after another is let in."""
    seen: dict[str, list[Tensor]] = {}

    class Watched(Split):
        def add(self, reference: Reference, read: tuple[Tensor, ...], stored: Tensor) -> None:
            seen[self._quantized.name] = [reference.values, *self.step_by_step(read), stored]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selectq.analysis.error_decomposition.Split", Watched)
        measure_causes(float_form, network, [float_images(4, seed=3)])
    return seen


@pytest.mark.parametrize("chosen", [scheme(symmetric=True), scheme(3, "tensor", 4)])
def test_causes_add_up_to_the_difference(chosen: Scheme) -> None:
    """Of every unit, in every value, with weights that have learnt; and the sizes reported are those of the causes."""
    float_form, network = fp32(), quantized(chosen)
    with torch.no_grad():
        for layer in network.layers():
            layer.weight *= 1.05
    plain_float, plain_quantized = _stored(float_form), _stored(network)
    table = causes_of(network, float_images(4, seed=3))
    outputs = outputs_of(float_form, network)
    assert list(outputs) == list(table.index) and len(outputs) == 52 + 10 + 2
    for name, (first, *others) in outputs.items():
        steps = [output.double() for output in (first, *others)]
        causes = [after - before for before, after in pairwise(steps)]
        assert len(causes) == len(CAUSES)
        difference, size = steps[-1] - steps[0], steps[0].norm()
        assert torch.allclose(torch.stack(causes).sum(0), difference, rtol=0, atol=1e-12 * size.item()), name
        assert torch.equal(difference, plain_quantized[name].double() - plain_float[name].double()), name
        for cause, drift in zip((*CAUSES, TOTAL), (*causes, difference), strict=True):
            assert table.loc[name, cause] == pytest.approx((drift.norm() / size).item(), rel=1e-4, abs=1e-9), name


@torch.no_grad()
def _stored(network: Network) -> dict[str, Tensor]:
    """What every place and the classifier put out, in a pass of the network by itself."""
    found: dict[str, Tensor] = {}
    units = [*network.sites(), network.classifier()]
    handles = [unit.register_forward_hook(lambda unit, _, output: found.update({unit.name: output})) for unit in units]
    network(float_images(4, seed=3))
    for handle in handles:
        handle.remove()
    return found


def test_total_is_the_drift_of_the_whole_quantized_network() -> None:
    images, network = float_images(8, seed=3), quantized(scheme(4, bits=4))
    drift = measure_drift(fp32(), network, [images]).query("kind == 'accumulated'").set_index("layer").drift
    total = causes_of(network, images)[TOTAL]
    layers = [layer.name for layer in network.layers()]
    assert total[layers].to_numpy() == pytest.approx(drift[layers].to_numpy(), rel=1e-4)
    assert total[SUM] == pytest.approx(drift[SUM], rel=1e-4)


def test_float_activations_leave_weight_rounding_alone() -> None:
    table = causes_of(part_quantized(weights=True, activations=False))
    assert (table[["clipping", "activation rounding", "changed weights"]] == 0.0).all(axis=None)
    layers = [layer.name for layer in fp32().layers()]
    assert (table.loc[layers, "weight rounding"] > 0).all()
    assert (table.loc[[SUM, "pool"], "weight rounding"] == 0.0).all(), "they have no weights"


def test_float_weights_leave_activations_alone() -> None:
    table = causes_of(part_quantized(weights=False, activations=True))
    assert (table[["weight rounding", "changed weights"]] == 0.0).all(axis=None)
    assert (table.loc[[LAYER, SUM], "activation rounding"] > 0).all()
    assert (table.loc["classifier.1", ROUNDING] == 0.0).all(), "logits are not stored as integers"


def test_float_network_has_no_error() -> None:
    assert (causes_of(part_quantized(weights=False, activations=False)) == 0.0).all(axis=None)


def test_error_of_one_layer_is_inherited_by_those_behind_it_alone() -> None:
    table = causes_of(part_quantized(weights=True, activations=True, only=LAYER))
    position = list(table.index).index(LAYER)
    before, behind = table.iloc[:position], table.iloc[position + 1 :]
    assert (before == 0.0).all(axis=None)
    assert (
        table.loc[LAYER, "inherited"] == 0.0
        and (table.loc[LAYER, ["weight rounding", "activation rounding"]] > 0).all()
    )
    assert (behind.drop(columns=["inherited", TOTAL]) == 0.0).all(axis=None)
    assert (behind["inherited"] == behind[TOTAL]).all() and (behind["inherited"] > 0).all()


def test_first_layer_inherits_nothing_from_the_pixels() -> None:
    table = causes_of(quantized(scheme()))
    assert table.iloc[0]["inherited"] == 0.0 and (table.iloc[1:]["inherited"] > 0).all()


def test_moved_weights_are_a_cause_of_their_own() -> None:
    network = part_quantized(weights=False, activations=False)
    layer = _layer_of(network)
    with torch.no_grad():
        layer.weight *= 1.25
        layer.bias *= 1.25
    table = causes_of(network)
    assert table.loc[LAYER, "changed weights"] == table.loc[LAYER, TOTAL] == pytest.approx(0.25, rel=1e-5)
    assert (table.drop(LAYER)["changed weights"] == 0.0).all()


def test_moved_bias_alone_is_a_cause_too() -> None:
    """As bias correction moves it, and as rounding does where all weights are on the grid."""
    network = part_quantized(weights=False, activations=False)
    with torch.no_grad():
        _layer_of(network).bias += 0.1
    table = causes_of(network)
    assert table.loc[LAYER, "changed weights"] == table.loc[LAYER, TOTAL] > 0
    assert (table.drop(LAYER)["changed weights"] == 0.0).all()


def _layer_of(network: Network) -> ConvNode:
    (layer,) = (layer for layer in network.layers() if layer.name == LAYER)
    assert isinstance(layer, ConvNode)
    return layer


def test_clipped_range_is_clipping_alone() -> None:
    """Values on the grid, some of them beyond its end: of the pool, which only averages one position."""
    node = Node("pool", AveragePool(None, None), ("head",))
    unit = PoolNode(node, AveragePool(None, None))
    ends = torch.tensor(0.0), torch.tensor(255.0)
    unit.activation = ActivationQuantizer(scheme().activations, unit.bounds, *ends)  # a level is worth 1
    float_form = PoolNode(node, AveragePool(None, None))
    split = Split([float_form] * 3, unit)
    x = torch.tensor([3.0, 254.0, 258.0, 12.0]).view(1, 4, 1, 1)
    split.add(Reference(x), (x,), unit(x))
    clipped = 3.0 / x.norm().item()
    found = {cause: error.value() for cause, error in split.errors.items()}
    assert found == {**dict.fromkeys(CAUSES, 0.0), "clipping": pytest.approx(clipped), TOTAL: pytest.approx(clipped)}

    off_grid = torch.tensor([3.25, 254.0, 100.0, 12.0]).view(1, 4, 1, 1)
    split = Split([float_form] * 3, unit)
    split.add(Reference(off_grid), (off_grid,), unit(off_grid))
    rounded = 0.25 / off_grid.norm().item()
    assert split.errors["clipping"].value() == 0.0
    assert split.errors["activation rounding"].value() == pytest.approx(rounded)


@pytest.mark.parametrize("activation", ["relu", "as_is"])
@pytest.mark.parametrize("chosen", [scheme(bits=4), scheme(bits=4, symmetric=True)], ids=["asymmetric", "symmetric"])
def test_activation_rounding_is_within_half_a_step(chosen: Scheme, activation: str) -> None:
    """What is clipped is clamped to exactly what the quantizer can represent."""
    network = quantize(trained(activation), coloured_dataset(), calibration(images=4), chosen, seed=0)
    outputs, clipped = outputs_of(fp32(activation), network), 0
    for place in network.sites():
        assert isinstance(place.activation, ActivationQuantizer)
        unclipped, clamped, stored = outputs[place.name][-3:]
        half = 0.5 * place.activation.scale.item()
        assert (stored - clamped).abs().max().item() <= half * 1.001
        beyond = (unclipped != clamped) & ((unclipped - clamped).abs() > 0.001 * half)
        assert torch.allclose(stored[beyond], clamped[beyond], rtol=1e-5), "the end of the range is a level"
        clipped += int(beyond.sum())
    assert clipped > 0


def test_batches_add_up_and_networks_are_left_alone() -> None:
    images, network = float_images(12, seed=3), quantized(scheme())
    before = copy.deepcopy(network)
    whole, in_parts = causes_of(network, images), causes_of(network, *images.split(5))
    assert in_parts.to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-3, abs=1e-7)
    assert not any(module._forward_hooks for module in network.modules())
    assert same_tensors(network, before)
    with torch.no_grad():
        assert torch.equal(network(images), before(images))


def test_rows_name_every_unit_and_cause() -> None:
    table = measure_causes(fp32(), quantized(scheme()), [float_images(4, seed=3)])
    assert list(table.columns) == CAUSE_COLUMNS
    assert list(table["cause"]) == [*CAUSES, TOTAL] * 64
    assert list(table["index"]) == [index for index in range(64) for _ in range(6)]
    kinds = table.drop_duplicates("layer")["layer_kind"].value_counts().to_dict()
    assert kinds == {
        **{"stem": 1, "depthwise": 17, "projection": 17, "expansion": 16, "block": 10, "head": 1},
        **{"pool": 1, "classifier": 1},
    }
