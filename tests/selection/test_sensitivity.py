"""Scores of layers against finite differences, and against what is computed the long way."""

import copy
import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchvision
from small_networks import calibration, coloured_dataset, coloured_noise, scheme
from torch import Tensor, nn

from selectq.analysis.drift import measure_drift
from selectq.data.packed import Split
from selectq.quantization.folding import fold
from selectq.quantization.network import FloatActivation, Identity, Network
from selectq.quantization.post_training import calibrate
from selectq.quantization.quantized import insert_quantizers
from selectq.selection.layers import layer_table
from selectq.selection.sensitivity import FISHER_IMAGES, causal_gains, divergence, retraining_scores, width_scores

STEP = 1e-5
IMAGES = coloured_noise(6, seed=3, size=8)


def tiny() -> Network:
    """Three convolutions, a sum and a classifier; float64, so that differences are exact enough."""

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, 2, 1)
            self.depthwise = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
            self.point = nn.Conv2d(4, 4, 1)
            self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            x = x + self.point(F.relu(self.depthwise(x)))
            return self.classifier(self.pool(x).flatten(1))

    torch.manual_seed(0)
    return fold(Tiny().eval())


def quantized_tiny(bits: int) -> Network:
    network, dataset = tiny(), coloured_dataset(size=8)
    insert_quantizers(network, scheme(bits), calibrate(network, dataset, calibration(), scheme(bits), seed=0))
    return network.eval().double()


NETWORK, FORMS = tiny().double(), {bits: quantized_tiny(bits) for bits in (8, 3)}
LAYERS = ["stem", "depthwise", "point", "classifier"]


def in_double(images: Split) -> Split:
    """The same images, as float64 batches."""
    plain = images.normalization
    return dataclasses.replace(images, normalization=lambda pixels: plain(pixels).double())  # type: ignore[arg-type]


def float_batch() -> Tensor:
    return in_double(IMAGES).normalization(IMAGES.images)


def drawn_labels(seed: int) -> Tensor:
    with torch.no_grad():
        shares = NETWORK(float_batch()).softmax(1)
    return torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(seed)).flatten()


def slopes(function: Callable[[], Tensor], values: Tensor) -> Tensor:
    """The derivative of `function` (a scalar) by each of `values`, which it reads; of their shape."""
    found = torch.zeros_like(values)
    for index in range(values.numel()):
        ends = []
        for step in (STEP, -STEP):
            values.view(-1)[index] += step
            ends.append(function())
            values.view(-1)[index] -= step
        found.view(-1)[index] = (ends[0] - ends[1]) / (2 * STEP)
    return found


@torch.no_grad()
def outputs_of(network: Network) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    network.watched(float_batch(), lambda module, output: outputs.__setitem__(str(module.name), output.clone()))
    return outputs


@torch.enable_grad()
def scores() -> pd.DataFrame:
    return width_scores(NETWORK, FORMS, in_double(IMAGES), seed=1).set_index("layer")


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_output_fisher_is_that_of_finite_differences(name: str) -> None:
    assert len(IMAGES) <= FISHER_IMAGES, "all in one batch"
    outputs, labels = outputs_of(NETWORK), drawn_labels(seed=1)
    y = outputs[name].contiguous()
    given = {each: outputs[each] for each in LAYERS[: LAYERS.index(name)]} | {name: y}

    def loss() -> Tensor:
        return F.cross_entropy(NETWORK.compute("classifier", given), labels, reduction="sum")

    gradient = slopes(loss, y)
    read = NETWORK[name].node.inputs[0]
    x = float_batch() if read == "pixels" else outputs[read]
    for bits, form in FORMS.items():
        expected = ((gradient * (form[name](x) - y)) ** 2).sum() / len(IMAGES)
        assert scores()[f"fisher_{bits}"][name] == pytest.approx(expected.item(), rel=1e-4)
        assert expected > 0


def test_fewer_bits_lose_more() -> None:
    assert (scores()["fisher_3"] > scores()["fisher_8"]).all() and (scores()["drift_3"] > scores()["drift_8"]).all()


def test_drift_is_that_of_the_drift_stage() -> None:
    drift = measure_drift(NETWORK, FORMS[3], [float_batch()])
    isolated = drift[(drift.kind == "isolated") & (drift.layer_kind != "block")].set_index("layer").drift
    for name in LAYERS:
        assert scores()["drift_3"][name] == pytest.approx(isolated[name], rel=1e-4)


def only_weights_quantized() -> Network:
    """The 3-bit network with float activations: its straight-through gradient is a derivative by rounded weights."""
    network = copy.deepcopy(FORMS[3])
    for site in network.sites():
        site.activation = FloatActivation(site.bounds)
    return network


def rounded(network: Network) -> Network:
    """With the rounded weights as float ones."""
    network = copy.deepcopy(network)
    for layer in network.layers():
        weight, bias = layer.weight_quantizer(layer.weight, layer.bias)
        layer.weight.data, layer.bias.data = weight.detach(), bias.detach()
        layer.weight_quantizer = Identity()
    return network


@torch.no_grad()
def test_retraining_scores_are_those_of_finite_differences() -> None:
    quantized = only_weights_quantized()
    twin, batch, labels = rounded(quantized), float_batch(), drawn_labels(seed=1)
    expected, count = NETWORK(batch), len(IMAGES)
    fp32 = copy.deepcopy(NETWORK)
    gradients, fishers, errors = {}, {}, {}
    for name in LAYERS:
        gradients[name] = slopes(lambda: divergence(expected, twin(batch)) / count, twin[name].weight.data)
        weight = fp32[name].weight.data
        fishers[name] = slopes(lambda: F.cross_entropy(fp32(batch), labels, reduction="sum"), weight) ** 2 / count
        errors[name] = twin[name].weight - quantized[name].weight
    damping = torch.cat([fisher.flatten() for fisher in fishers.values()]).mean()
    with torch.enable_grad():
        found = retraining_scores(NETWORK, quantized, in_double(IMAGES), seed=1).set_index("layer")
    for name in LAYERS:
        gradient = gradients[name]
        wanted = {
            "gain": 0.5 * (gradient**2 / (fishers[name] + damping)).sum(),
            "gradient": gradient.abs().sum(),
            "gradient_times_error": (gradient * errors[name]).abs().sum(),
        }
        for column, value in wanted.items():
            assert found[column][name] == pytest.approx(value.item(), rel=1e-3), column
            assert value > 0


@torch.no_grad()
def test_causal_gain_is_what_one_float_layer_wins() -> None:
    batch, expected = float_batch(), NETWORK(float_batch())
    found = causal_gains(NETWORK, FORMS[3], in_double(IMAGES))
    for name in LAYERS:
        freed = copy.deepcopy(FORMS[3])
        freed[name].weight_quantizer, freed[name].activation = Identity(), FloatActivation(freed[name].bounds)
        won = divergence(expected, FORMS[3](batch)) - divergence(expected, freed(batch))
        assert found[name] == pytest.approx(won.item() / len(IMAGES), rel=1e-6, abs=1e-12)
    assert len(set(found.values())) == len(LAYERS)


def test_causal_gain_is_a_mean_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = causal_gains(NETWORK, FORMS[3], in_double(IMAGES))
    monkeypatch.setattr("selectq.selection.sensitivity.DIVERGENCE_IMAGES", 4)
    assert causal_gains(NETWORK, FORMS[3], in_double(IMAGES)) == pytest.approx(whole)


def test_seed_decides_and_labels_do_not() -> None:
    images = in_double(IMAGES)
    mislabelled = dataclasses.replace(images, labels=(images.labels + 1) % 3)
    one, same, other = (retraining_scores(NETWORK, FORMS[3], images, seed) for seed in (0, 0, 5))
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    pd.testing.assert_frame_equal(one, retraining_scores(NETWORK, FORMS[3], mislabelled, 0), check_exact=True)
    assert (one.gain != other.gain).any() and one.gradient.equals(other.gradient)


def test_network_that_is_sure_of_every_label_has_scores() -> None:
    """Its Fisher information is 0, and so is the gradient of the divergence."""
    network, dataset, chosen = tiny(), coloured_dataset(size=8), scheme(8)
    with torch.no_grad():
        network["classifier"].weight *= 1e6
    quantized = copy.deepcopy(network)
    insert_quantizers(quantized, chosen, calibrate(quantized, dataset, calibration(), chosen, seed=0))
    scores = retraining_scores(network, quantized.eval(), IMAGES, seed=0)
    assert scores.notna().all(axis=None) and (scores["gain"] == 0).all()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_operations_are_those_that_torchvision_counts(name: str) -> None:
    network = fold(torchvision.models.get_model(name, weights=None).eval())
    table = layer_table(network, torch.zeros(1, 3, 224, 224)).set_index("layer")
    counted = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"]
    assert table.macs.sum() / 1e9 == pytest.approx(counted, abs=0.0006)
    assert (table.depth.iloc[0], table.depth.iloc[-1]) == (0, 1) and table.depth.is_monotonic_increasing
    first, last = table.iloc[0], table.iloc[-1]
    assert first.backward_macs == table.macs.sum() and last.backward_macs == last.macs == last.parameters


def test_backward_pass_leaves_out_what_does_not_read_the_layer() -> None:
    network = fold(torchvision.models.resnet18(weights=None).eval())
    table = layer_table(network, torch.zeros(1, 3, 32, 32)).set_index("layer")
    beside, second, behind = "layer4.0.downsample.0", "layer4.0.conv2", ["layer4.1.conv1", "layer4.1.conv2", "fc"]
    for name in (beside, second):
        assert table.backward_macs[name] == table.macs[[name, *behind]].sum()
