"""The reference form against the simulation, in integer steps and in flipped predictions."""

import pytest
import torch
from small_networks import blends, coloured_noise, mixed_scheme, quantized, same_tensors, scheme
from steps import flipped, integer_steps

from selectq.config.configs import width_of
from selectq.data.normalization import INTEGER_GRID
from selectq.errors import UserError
from selectq.export.reference import ReferenceNetwork, to_reference
from selectq.graph.nodes import PIXELS, Graph, Input, Node
from selectq.quantization.fake_quantize import BIAS_INTEGERS
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme
from selectq.quantization.scale_assignment import ScaleAssignment

slow = pytest.mark.slow
SCHEMES = [
    *(scheme(8, granularity, 8, symmetric) for granularity in ("tensor", "channel") for symmetric in (False, True)),
    scheme(4, "channel", 4),
    mixed_scheme(),
    scheme(2, "tensor", 3, symmetric=True),
]
SAME = 0.001  # of a step: float32 is not exact


@pytest.mark.parametrize("chosen", SCHEMES)
def test_every_stored_value_is_that_of_the_simulation(chosen: Scheme) -> None:
    simulation = quantized(chosen)
    reference = to_reference(simulation)
    steps = integer_steps(simulation, reference, INTEGER_GRID(blends(24)))
    assert len(steps) == 63
    assert max(steps.values()) < SAME, max(steps, key=steps.__getitem__)


def test_damage_to_one_channel_shows_in_steps() -> None:
    """Negative control of the comparison: three steps more in one channel's bias."""
    simulation = quantized(scheme())
    reference = to_reference(simulation)
    layer = next(layer for layer in reference.network.layers() if layer.name == "features.9.conv.2")
    scale = simulation[layer.name].activation.scale.item()
    layer.bias[3] += int(3 * scale / layer.weight_quantizer.bias.scales[3])
    steps = integer_steps(simulation, reference, INTEGER_GRID(blends(8)))
    assert steps.pop(layer.name) == pytest.approx(3, abs=1.001)
    assert max(steps.values()) < SAME


@pytest.mark.parametrize(
    "chosen", [SCHEMES[0], *(pytest.param(each, marks=pytest.mark.slow) for each in SCHEMES[1:-1])]
)
def test_at_most_one_prediction_in_200_flips(chosen: Scheme) -> None:
    """Not of 2 bits: all images look alike to it."""
    images, simulation = blends(400), quantized(chosen)
    reference = to_reference(simulation)
    with torch.no_grad():
        simulated, referred = simulation(INTEGER_GRID(images)), reference(images)
    assert flipped(simulated, referred) <= 0.005


@pytest.mark.parametrize("chosen", SCHEMES)
def test_weights_and_biases_are_integers_on_their_grids(chosen: Scheme) -> None:
    simulation = quantized(chosen)
    reference = to_reference(simulation)
    for layer, twin in zip(simulation.layers(), reference.network.layers(), strict=True):
        assert (twin.weight.dtype, twin.bias.dtype) == (torch.int8, torch.int32)
        assert twin.weight.abs().max().item() == 2 ** (width_of(chosen.weights.bits, layer.kind, layer.name) - 1) - 1
        with torch.no_grad():
            weight, bias = twin.weight_quantizer(twin.weight, twin.bias)
            expected = layer.weight_quantizer(layer.weight, layer.bias)
            _, level = twin.weight_quantizer(twin.weight, torch.ones_like(twin.bias))
        assert torch.equal(weight, expected[0]) and torch.equal(bias, expected[1])
        assert ((bias - layer.bias).abs() <= 0.501 * level).all(), "rounded to the nearest level"


def test_conversion_leaves_the_simulation_alone() -> None:
    simulation = quantized(scheme())
    to_reference(simulation)
    assert same_tensors(simulation, quantized(scheme()))
    assert all(layer.weight.dtype == torch.float32 for layer in simulation.layers())


def test_pixels_are_quantized_values_as_they_are() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(6).view(2, 3, 16, 16)
    reference = ReferenceNetwork(
        Network(Graph((Node(PIXELS, Input(), ()),)), [], INTEGER_GRID)
    )  # puts out what it reads
    assert torch.equal(reference(pixels), INTEGER_GRID(pixels))


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("name", ["features.8.conv.1.0", "features.8.conv.2"])
def test_bias_too_large_for_the_scale_of_its_weights_is_kept(name: str, granularity: str) -> None:
    """Weights of almost 0 ask for a scale so small that the bias would need more than 32 bits."""
    chosen = scheme(granularity=granularity)
    simulation = quantized(chosen)
    layer = next(place for place in simulation.sites() if place.name == name)
    with torch.no_grad():
        layer.weight[: 1 if granularity == "channel" else None] *= 1e-9
        layer.bias[0] = 5e3
    layer.activation.high.fill_(1e4)  # the bias does not saturate
    ScaleAssignment(simulation).assign()
    reference = to_reference(simulation)
    twin = next(place for place in reference.network.sites() if place.name == name)
    assert twin.bias[0].item() <= BIAS_INTEGERS.quant_max
    assert twin.weight_quantizer(twin.weight, twin.bias)[1][0].item() == pytest.approx(5e3, rel=1e-5)
    steps = integer_steps(simulation, reference, INTEGER_GRID(coloured_noise(8, seed=1).images))
    assert max(steps.values()) < SAME, max(steps, key=steps.__getitem__)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("features/3/conv/2.weight", float("nan"), "features.3.conv.2.weight: a scale of nan; allowed: positive"),
        ("classifier/1.bias", float("inf"), "classifier.1.weight: a scale of inf; allowed: positive"),
        ("features/8.activation.high", float("inf"), r"features.8 \(activations\): a scale of inf; allowed: positive"),
        ("features/8.activation.low", float("nan"), r"features.8 \(activations\): a scale of nan; allowed: positive"),
    ],
)
def test_scale_that_no_program_can_have_is_named(name: str, value: float, message: str) -> None:
    simulation = quantized(scheme(granularity="tensor"))
    assignment = ScaleAssignment(simulation)
    simulation.state_dict()[f"parts.{name}"].view(-1)[0] = value
    assignment.assign()
    with pytest.raises(UserError, match=f"^{message}"):
        to_reference(simulation)
