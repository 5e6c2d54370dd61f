"""Scales: they cover what they should, and make no rounding tie."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import coloured_noise, quantized, scheme

from selectq.config.configs import ActivationScheme, WeightScheme
from selectq.data.normalization import INTEGER_GRID
from selectq.quantization.fake_quantize import (
    BIAS_INTEGERS,
    IntegerRange,
    activation_integers,
    fake_quantize,
    weight_integers,
)
from selectq.quantization.quantizers import WeightQuantizer
from selectq.quantization.scale_groups import sum_groups
from selectq.quantization.scales import (
    LARGEST_TIE_FREE_DENOMINATOR,
    TIE_FREE_RESOLUTION,
    UNITS,
    activation_scale,
    activation_zero_point,
    bias_magnitude,
    common_unit,
    multiple_of_unit,
    odd_multiple_of_unit,
    scale_with_room,
    tie_free_scale,
    weight_scale,
)

BITS = range(2, 9)
laws = settings(deadline=None, derandomize=True, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def scale_and_zero_point(low: float, high: float, scheme: ActivationScheme) -> tuple[torch.Tensor, torch.Tensor]:
    scale = activation_scale(torch.tensor(low), torch.tensor(high), scheme)
    return scale, activation_zero_point(torch.tensor(low), scale, scheme)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 1, 3, 3), (6, 10)])
def test_weight_scale_puts_the_largest_weight_on_the_last_level(
    shape: tuple[int, ...], granularity: str, bits: int
) -> None:
    scheme = WeightScheme(bits, granularity)  # type: ignore[arg-type]
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7).view(
        -1, *[1] * (len(shape) - 1)
    )
    scale = weight_scale(weight, scheme)
    assert scale.shape == (6 if granularity == "channel" else 1, *[1] * (len(shape) - 1))
    codes = (weight / scale).abs()
    largest = codes.flatten(1).amax(1) if granularity == "channel" else codes.amax().view(1)
    assert torch.allclose(largest, torch.full_like(largest, 2 ** (bits - 1) - 1))


def test_negative_weights_are_as_exact_as_positive_ones() -> None:
    scheme = WeightScheme(4, "channel")
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[:, 0, 0, 0] = -9.0  # the largest magnitude is negative
    scale = weight_scale(weight, scheme)
    zero = torch.zeros_like(scale)
    quantized = fake_quantize(weight, scale, zero, weight_integers(scheme))
    assert torch.equal(fake_quantize(-weight, scale, zero, weight_integers(scheme)), -quantized)
    assert torch.allclose(quantized[:, 0, 0, 0], torch.tensor(-9.0))


def test_dead_channel_of_weights_stays_zero() -> None:
    weight = torch.ones(2, 3)
    weight[0] = 0
    scale = weight_scale(weight, WeightScheme(8, "channel"))
    assert (scale > 0).all()
    assert torch.equal(
        fake_quantize(weight, scale, torch.zeros_like(scale), IntegerRange(-127, 127))[0], torch.zeros(3)
    )


ends = st.floats(-1e4, 1e4, width=32)


@laws
@given(ends, ends, st.sampled_from(BITS))
def test_asymmetric_activation_scale_covers_the_range(one: float, other: float, bits: int) -> None:
    low, high = sorted((one, other))
    integers = activation_integers(ActivationScheme(bits, symmetric=False))
    scale, zero_point = scale_and_zero_point(low, high, ActivationScheme(bits, False))
    assert zero_point.item() in range(integers.quant_min, integers.quant_max + 1)
    step = scale.item()
    slack = 0.5 * step * (1 + 1e-5)  # the zero point is rounded to a level
    assert (integers.quant_min - zero_point.item()) * step <= min(low, 0.0) + slack
    assert (integers.quant_max - zero_point.item()) * step >= max(high, 0.0) - slack


@laws
@given(ends, ends, st.sampled_from(BITS))
def test_symmetric_activation_range_is_about_zero(one: float, other: float, bits: int) -> None:
    low, high = sorted((one, other))
    integers = activation_integers(ActivationScheme(bits, symmetric=True))
    scale, zero_point = scale_and_zero_point(low, high, ActivationScheme(bits, True))
    assert zero_point.item() == (integers.quant_max + 1) / 2
    reach = (integers.quant_max - zero_point.item()) * scale.item()
    assert reach >= max(-low, high) * (1 - 1e-6)


def test_activation_scale_by_hand() -> None:
    for symmetric, expected in ((False, (5 / 255, 51)), (True, (4 / 127, 128))):
        scale, zero_point = scale_and_zero_point(-1.0, 4.0, ActivationScheme(8, symmetric))
        assert (scale.item(), zero_point.item()) == pytest.approx(expected)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_range_without_width_keeps_zero_exact(symmetric: bool, bits: int) -> None:
    scheme = ActivationScheme(bits, symmetric)
    zero = torch.zeros(())
    scale, zero_point = scale_and_zero_point(0.0, 0.0, scheme)
    assert 1 / 255 <= scale.item() <= 1, "as if the range were 1: runtimes refuse scales of next to nothing"
    assert fake_quantize(zero, scale, zero_point, activation_integers(scheme)).item() == 0.0


def test_range_that_leaves_out_zero_is_widened_to_it() -> None:
    for low, high in ((2.0, 3.0), (-3.0, -2.0)):
        scale, zero_point = scale_and_zero_point(low, high, ActivationScheme(8, False))
        assert scale.item() == pytest.approx(3 / 255)
        assert zero_point.item() == (0 if low > 0 else 255)


def test_scale_leaves_room_for_the_bias() -> None:
    scale, input_scale = torch.tensor([1e-9, 0.1]), torch.tensor(0.01)
    bias = torch.tensor([3.0, 3.0])
    found = scale_with_room(scale, bias_magnitude(bias, 2), input_scale)
    assert found[1] == scale[1], "left alone where the bias fits"
    assert ((bias / (found * input_scale)).round() <= BIAS_INTEGERS.quant_max).all()
    assert scale_with_room(scale[:1], bias_magnitude(bias, 1), input_scale).shape == (1,)


def test_bias_range_is_half_of_int32() -> None:
    assert IntegerRange(-(2**30), 2**30) == BIAS_INTEGERS
    largest_layer = 127 * 255 * 1280  # the classifier's sum of products
    assert BIAS_INTEGERS.quant_max + largest_layer < 2**31


def test_one_scale_per_tensor_has_room_for_the_largest_of_unequal_biases() -> None:
    bias = torch.tensor([1.0, -3e6, 2e6, 0.0])
    (found,) = scale_with_room(torch.tensor([1e-4]), bias_magnitude(bias, 1), torch.tensor(1e-2))
    assert found.item() == pytest.approx(3e6 / (1e-2 * 2**30))


small = st.floats(2.0**-14, 2.0**4, width=32)


def distance_to_ties(scale: torch.Tensor, input_scale: torch.Tensor, output_scale: torch.Tensor) -> float:
    """How near, in output codes, any accumulator of 20 bits comes to a rounding tie."""
    accumulators = torch.arange(2**20, dtype=torch.double)
    products = accumulators * (input_scale.double() * scale.double() / output_scale.double())
    products = products[products < 256]
    return ((products - products.floor()) - 0.5).abs().min().item()


@laws
@given(small, small, small)
def test_no_product_of_a_tie_free_scale_is_near_a_tie(weight: float, given_input: float, given_output: float) -> None:
    scale, input_scale, output_scale = (torch.tensor([value]) for value in (weight, given_input, given_output))
    found = tie_free_scale(scale, input_scale, output_scale)
    rounded = 256 * torch.finfo(torch.float32).eps  # of the largest product, by the rounding of its scales
    assert distance_to_ties(found, input_scale, output_scale) > 1 / (2 * LARGEST_TIE_FREE_DENOMINATOR) - rounded


def test_float32_brings_a_product_nearer_to_a_tie() -> None:
    """Of the smallest factors: by less than half of the distance that is left."""
    scale, input_scale, output_scale = torch.tensor([2.0**-14]), torch.tensor([5.0]), torch.tensor([15.5])
    distance = distance_to_ties(tie_free_scale(scale, input_scale, output_scale), input_scale, output_scale)
    assert 0.5 / (2 * LARGEST_TIE_FREE_DENOMINATOR) < distance < 0.9 / (2 * LARGEST_TIE_FREE_DENOMINATOR)


def test_an_ordinary_scale_comes_nearer_to_a_tie() -> None:
    """Negative control of the measure."""
    scale, input_scale, output_scale = torch.tensor([0.01]), torch.tensor([0.03]), torch.tensor([0.05])
    assert distance_to_ties(scale, input_scale, output_scale) < 1e-5
    assert distance_to_ties(tie_free_scale(scale, input_scale, output_scale), input_scale, output_scale) > 4e-4


@laws
@given(small, small, small)
def test_a_tie_free_scale_is_hardly_coarser(weight: float, given_input: float, given_output: float) -> None:
    scale, input_scale, output_scale = (torch.tensor([value]) for value in (weight, given_input, given_output))
    ratio = (tie_free_scale(scale, input_scale, output_scale) / scale).item()
    needless = (output_scale / (LARGEST_TIE_FREE_DENOMINATOR * input_scale * scale)).item()
    assert 1 - 1e-6 <= ratio <= max(1 / (1 - 2 / TIE_FREE_RESOLUTION), needless) * (1 + 1e-6)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_no_layer_of_a_network_computes_near_a_tie(granularity: str) -> None:
    network = quantized(scheme(8, granularity, 8))
    sources = {layer.name: source for layer, source in network.inputs()}
    nearest = {}

    def measure(layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(layer.weight_quantizer, WeightQuantizer)
        weight, bias = layer.weight_quantizer(layer.weight.double(), layer.bias.double())
        raw = torch.conv2d(arguments[0].double(), weight, bias, layer.stride, layer.padding, groups=layer.groups)
        codes = raw / layer.activation.scale.double()
        nearest[layer.name] = ((codes - codes.floor()) - 0.5).abs().min().item()

    for layer in network.layers():
        if layer.kind != "classifier":
            layer.register_forward_hook(measure)
    with torch.no_grad():
        network(INTEGER_GRID(coloured_noise(12, seed=3).images))
    assert len(nearest) == 52 and sources.keys() == {*nearest, "classifier.1"}
    assert min(nearest.values()) > 0.4 / LARGEST_TIE_FREE_DENOMINATOR


@laws
@given(st.lists(st.floats(2.0**-5, 2.0**3, width=32), min_size=3, max_size=7))
def test_scales_of_summands_have_a_common_unit(scales: list[float]) -> None:
    given_scales = [torch.tensor(scale) for scale in scales]
    unit = torch.tensor(common_unit(given_scales))
    for scale in given_scales:
        for multiple, coarsest in ((multiple_of_unit, 1), (odd_multiple_of_unit, 2)):
            found = multiple(scale, unit)
            count = (found / unit).item()
            assert count == round(count) and (multiple is multiple_of_unit or count % 2 == 1)
            assert scale <= found < scale + coarsest * unit <= scale * (1 + coarsest / UNITS)


def test_no_sum_is_near_a_tie() -> None:
    scales = [torch.tensor(scale) for scale in (0.031, 0.0173, 0.042)]
    unit = torch.tensor(common_unit(scales))
    one, other = (multiple_of_unit(scale, unit).double() for scale in scales[:2])
    codes = torch.arange(-255, 256, dtype=torch.double)

    def nearest(output_scale: torch.Tensor) -> float:
        sums = (codes[:, None] * one + codes[None, :] * other) / output_scale
        return ((sums - sums.floor()) - 0.5).abs().min().item()

    assert nearest(odd_multiple_of_unit(scales[2], unit).double()) > 1e-4
    assert nearest(scales[2].double()) < 1e-5, "negative control: an ordinary scale"


@pytest.mark.parametrize("symmetric", [False, True])
def test_every_sum_of_a_network_has_an_odd_multiple_of_its_summands_unit(symmetric: bool) -> None:
    network = quantized(scheme(8, "channel", 8, symmetric))
    groups = sum_groups(network.graph)
    assert [len(group) for group in groups] == [3, 5, 7, 5, 5]
    for group in groups:
        scales = {name: network[name].activation.scale.item() for name in group}
        unit = common_unit(torch.tensor(scale) for scale in scales.values())
        if math.log2(min(scales.values())) % 1 == 0:
            unit /= 2  # the smallest scale was below this power of two before it was made coarser
        counts = {name: scale / unit for name, scale in scales.items()}
        assert all(count == round(count) for count in counts.values())
        assert all(counts[name] % 2 == 1 for name in group if network[name].kind == "block")
