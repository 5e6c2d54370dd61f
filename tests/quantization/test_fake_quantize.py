"""The quantizer against torch's, value for value and gradient for gradient, and the laws it must obey."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from selectq.config.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import (
    IntegerRange,
    activation_integers,
    fake_quantize,
    fake_quantize_channels,
    weight_integers,
)

BITS = range(2, 9)
SCALES = (0.25, 0.0213, 1.7, 3e-5)
ACTIVATION_INTEGERS = [activation_integers(ActivationScheme(bits, symmetric=False)) for bits in BITS]
WEIGHT_INTEGERS = [weight_integers(WeightScheme(bits, "tensor")) for bits in BITS]


def zero_points(integers: IntegerRange) -> set[int]:
    """Both ends, the middle, and an odd and an even level."""
    low, high = integers.quant_min, integers.quant_max
    return {low, high, (low + high) // 2, low + (high - low) // 3, low + (high - low) // 3 + 1}


PER_TENSOR = [
    (integers, scale, zero_point)
    for integers in (*ACTIVATION_INTEGERS, *WEIGHT_INTEGERS)
    for scale in SCALES
    for zero_point in (sorted(zero_points(integers)) if integers.quant_min == 0 else [0])
]


def values_around(integers: IntegerRange, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Every level, every tie between two codes, values a hair beside the ties, and values far outside the grid."""
    codes = (
        torch.arange(integers.quant_min - 3, integers.quant_max + 4, 0.5) - zero_point
    )  # ties are exact for scale 0.25
    ties = codes * scale
    far = torch.tensor([-1e4, -300.0, -0.0, 0.0, 300.0, 1e4]) * scale
    noise = torch.randn(500, generator=torch.Generator().manual_seed(0)) * integers.quant_max * scale
    return torch.cat([ties, ties * (1 + 2e-7), ties * (1 - 2e-7), far, noise])


def with_gradient(quantized: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The quantized values and the gradient of their weighted sum."""
    weights = torch.linspace(-3, 5, x.numel()).view(x.shape)
    (gradient,) = torch.autograd.grad((quantized * weights).sum(), x)
    return quantized.detach(), gradient


def assert_same(own: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(own[0], reference[0])
    assert torch.equal(own[1], reference[1])
    assert 0 < (own[1] == 0).sum() < own[1].numel(), "saturated values and others are both there"


@pytest.mark.parametrize(("integers", "scale", "zero_point"), PER_TENSOR)
def test_per_tensor_equals_torch(integers: IntegerRange, scale: float, zero_point: int) -> None:
    scales, points = torch.tensor(scale), torch.tensor(float(zero_point))
    x = values_around(integers, scales, points).requires_grad_()
    reference = torch.fake_quantize_per_tensor_affine(x, scales, points.int(), integers.quant_min, integers.quant_max)
    assert_same(with_gradient(fake_quantize(x, scales, points, integers), x), with_gradient(reference, x))


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (5, 1, 3, 3), (5, 7)])
@pytest.mark.parametrize("integers", [*WEIGHT_INTEGERS, *ACTIVATION_INTEGERS])
def test_per_channel_equals_torch(integers: IntegerRange, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    scales = torch.tensor([0.25, 0.0213, 1.7, 3e-5, 40.0])
    points = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0]) if integers.quant_min == 0 else torch.zeros(5)
    column = (-1, *[1] * (len(shape) - 1))
    x = torch.randn(shape, generator=generator) * (integers.quant_max * scales).view(column)
    x[0].view(-1)[:6] = torch.tensor([0.125, 0.375, -0.125, -0.375, 0.625, 1e6])  # exact ties at scale 0.25
    x.requires_grad_()
    own = fake_quantize(x, scales.view(column), points.view(column), integers)
    reference = torch.fake_quantize_per_channel_affine(
        x, scales, points.int(), 0, integers.quant_min, integers.quant_max
    )
    assert_same(with_gradient(own, x), with_gradient(reference, x))


def test_ties_go_to_even_levels_by_hand() -> None:
    x = torch.tensor([0.125, 0.375, 0.625, -0.125, -0.375, 99.0, -99.0])
    found = fake_quantize(x, torch.tensor(0.25), torch.tensor(3.0), IntegerRange(0, 7))
    assert found.tolist() == [0.0, 0.5, 0.5, 0.0, -0.5, 1.0, -0.75]


def test_gradient_by_hand() -> None:
    x = torch.tensor([-0.9, -0.8, 0.0, 1.1, 1.2], requires_grad=True)  # codes -4 + 3, -3 + 3, 3, 4 + 3, 5 + 3
    fake_quantize(x, torch.tensor(0.25), torch.tensor(3.0), IntegerRange(0, 7)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_scale_and_zero_point_get_no_gradient() -> None:
    x, scale, zero_point = (torch.tensor(value, requires_grad=True) for value in (0.3, 0.25, 1.0))
    fake_quantize(x, scale, zero_point, IntegerRange(0, 7)).backward()
    assert x.grad is not None and scale.grad is None and zero_point.grad is None


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_compiles_to_the_same_values() -> None:
    compiled = torch.compile(fake_quantize, fullgraph=True)
    for integers, scale, zero_point in (
        (IntegerRange(0, 255), 0.0213, 77),
        (IntegerRange(-127, 127), 0.25, 0),
        (IntegerRange(0, 15), 1.7, 5),
    ):
        scales, points = torch.tensor(scale), torch.tensor(float(zero_point))
        x = values_around(integers, scales, points).requires_grad_()
        own = with_gradient(fake_quantize(x, scales, points, integers), x)
        assert_same(with_gradient(compiled(x, scales, points, integers), x), own)


laws = settings(deadline=None, derandomize=True, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
scales = st.floats(2.0**-20, 2.0**10, width=32)
values = st.floats(-2000, 2000, width=32)


@st.composite
def quantizers(draw: st.DrawFn) -> tuple[Tensor, Tensor, IntegerRange]:
    """Scale, zero point and integer range, of a weight or of an activation."""
    integers = draw(st.sampled_from([*ACTIVATION_INTEGERS, *WEIGHT_INTEGERS]))
    zero_point = draw(st.integers(integers.quant_min, integers.quant_max)) if integers.quant_min == 0 else 0
    return torch.tensor(draw(scales)), torch.tensor(float(zero_point)), integers


def grid_points(scale: Tensor, zero_point: Tensor, integers: IntegerRange) -> Tensor:
    return (torch.arange(integers.quant_min, integers.quant_max + 1) - zero_point) * scale


@laws
@given(quantizers())
def test_grid_points_are_fixed_points(quantizer: tuple[Tensor, Tensor, IntegerRange]) -> None:
    points = grid_points(*quantizer)
    assert torch.equal(fake_quantize(points, *quantizer), points)
    assert (points == 0).sum() == 1, "zero is representable"


@laws
@given(quantizers(), st.lists(values, min_size=2, max_size=20))
def test_puts_out_grid_points_alone(quantizer: tuple[Tensor, Tensor, IntegerRange], codes: list[float]) -> None:
    found = fake_quantize(torch.tensor(codes) * quantizer[0], *quantizer)
    assert torch.isin(found, grid_points(*quantizer)).all()
    assert torch.equal(fake_quantize(found, *quantizer), found), "idempotent"


@laws
@given(quantizers(), st.lists(values, min_size=2, max_size=20))
def test_is_monotone(quantizer: tuple[Tensor, Tensor, IntegerRange], codes: list[float]) -> None:
    found = fake_quantize(torch.tensor(sorted(codes)) * quantizer[0], *quantizer)
    assert (found.diff() >= 0).all()


@laws
@given(quantizers(), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_error_is_at_most_half_a_step_inside_the_range(
    quantizer: tuple[Tensor, Tensor, IntegerRange], shares: list[float]
) -> None:
    points = grid_points(*quantizer)
    x = torch.lerp(points[0], points[-1], torch.tensor(shares))
    half_step = quantizer[0].item() / 2
    rounding = points.abs().max().item() * 2**-22  # of x / scale, in float32
    assert (fake_quantize(x, *quantizer) - x).abs().max().item() <= half_step + rounding


@pytest.mark.parametrize("bits", BITS)
def test_channels_at_once_are_the_same_bits(bits: int) -> None:
    """torch's own operator, which a GPU takes for weights with a scale for each channel; gradients too."""
    generator = torch.Generator().manual_seed(bits)
    weight, scale = torch.randn(8, 3, 3, 3, generator=generator), torch.rand(8, generator=generator) / 50 + 0.001
    found = []
    for quantize in (fake_quantize_channels, lambda x, s, g: fake_quantize(x, s.view(8, 1, 1, 1), torch.zeros(()), g)):
        own = weight.clone().requires_grad_()
        values = quantize(own, scale, WEIGHT_INTEGERS[bits - 2])
        values.sum().backward()
        found.append((values.detach(), own.grad))
    assert all(map(torch.equal, *found))
