"""Range estimators on distributions whose answer is known, and on a network that they leave as they found it."""

import copy
import math

import pytest
import torch
from small_networks import (
    IMAGE_SIZE,
    batches_of,
    calibration,
    coloured_noise,
    mixed_scheme,
    model_config,
    random_network,
    same_tensors,
    trained,
)
from torch import Tensor

from selectq.config.configs import ActivationScheme
from selectq.graph.bounds import Bounds
from selectq.quantization.fake_quantize import activation_integers, fake_quantize
from selectq.quantization.folding import fold
from selectq.quantization.network import FloatActivation
from selectq.quantization.range_estimation import ESTIMATORS, estimate_ranges
from selectq.quantization.scales import activation_scale, activation_zero_point

EIGHT_BITS = ActivationScheme(8, symmetric=False)
LINEAR, RELU = Bounds(-math.inf, math.inf), Bounds(0.0, math.inf)


def estimate(
    name: str,
    *batches: Tensor,
    bounds: Bounds = LINEAR,
    scheme: ActivationScheme = EIGHT_BITS,
    percentile: float = 99.0,
    averaging: float = 0.1,
) -> tuple[float, float]:
    """The range that an estimator names after it was shown `batches`, as often as it wants."""
    kind = ESTIMATORS[name]
    estimator = kind(bounds, calibration(name, percentile=percentile, averaging=averaging), scheme)
    for index in range(kind.passes):
        estimator.pass_index = index
        for batch in batches:
            assert torch.equal(estimator(batch), FloatActivation(bounds)(batch)), "passes the activated values on"
    low, high = estimator.estimate()
    assert low.dtype == high.dtype == torch.float32 and low.shape == high.shape == ()
    return low.item(), high.item()


def uniform(low: float, high: float, count: int = 100_001) -> Tensor:
    return torch.linspace(low, high, count)[torch.randperm(count, generator=torch.Generator().manual_seed(0))]


def quantization_error(x: Tensor, found: tuple[float, float], scheme: ActivationScheme) -> float:
    scale = activation_scale(torch.tensor(found[0]), torch.tensor(found[1]), scheme)
    zero_point = activation_zero_point(torch.tensor(found[0]), scale, scheme)
    return (fake_quantize(x, scale, zero_point, activation_integers(scheme)) - x).square().mean().item()


def test_minmax_is_exact_over_all_batches() -> None:
    assert estimate("minmax", torch.tensor([1.0, -2.5]), torch.tensor([0.0, 7.25]), torch.tensor([3.0])) == (-2.5, 7.25)


def test_estimators_see_the_activated_values() -> None:
    assert estimate("minmax", torch.tensor([-5.0, 3.0]), bounds=RELU) == (0.0, 3.0)
    assert estimate("minmax", torch.tensor([2.0, 99.0]), bounds=Bounds(0.0, 6.0)) == (2.0, 6.0)


def test_moving_average_by_hand() -> None:
    batches = [torch.tensor([-1.0, 4.0]), torch.tensor([-3.0, 8.0]), torch.tensor([0.0, 1.0])]
    expected = ((-1 * 0.75 - 3 * 0.25) * 0.75 + 0, (4 * 0.75 + 8 * 0.25) * 0.75 + 1 * 0.25)
    assert estimate("moving_average", *batches, averaging=0.25) == pytest.approx(expected)
    assert estimate("moving_average", *batches, averaging=1.0) == (0.0, 1.0), "the last batch alone"
    assert estimate("moving_average", *batches, averaging=0.0) == (-1.0, 4.0), "the first alone"


@pytest.mark.parametrize(("percentile", "end"), [(99.0, 0.99), (90.0, 0.90), (50.0, 0.50)])
def test_percentile_of_a_uniform_distribution(percentile: float, end: float) -> None:
    bin_width = 2 / 2048
    low, high = estimate("percentile", *uniform(-1, 1).split(30_000), percentile=percentile)
    assert low == pytest.approx(-end, abs=1.01 * bin_width)
    assert high == pytest.approx(end, abs=1.01 * bin_width)


def test_percentile_100_is_minmax() -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert estimate("percentile", x, percentile=100.0) == estimate("minmax", x)


def test_percentile_covers_its_share() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0)) ** 3
    low, high = estimate("percentile", x, percentile=99.0)
    inside = ((x >= low) & (x <= high)).double().mean().item()
    assert 0.99 <= inside < 0.995


def test_percentile_leaves_the_zeros_of_relu_in() -> None:
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    low, high = estimate("percentile", x, bounds=RELU, percentile=99.0)
    assert low == 0.0
    assert high == pytest.approx(x.quantile(0.995).item(), abs=0.01)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("bits", "share"), [(4, 0.5), (8, 0.98)])
def test_mse_beats_minmax_where_there_is_an_outlier(bits: int, share: float, symmetric: bool) -> None:
    scheme = ActivationScheme(bits, symmetric)
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    x[7] = 40.0
    errors = {name: quantization_error(x, estimate(name, x, scheme=scheme), scheme) for name in ("mse", "minmax")}
    assert errors["mse"] < share * errors["minmax"]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_mse_is_the_best_of_the_shrunken_ranges(bits: int, symmetric: bool) -> None:
    scheme = ActivationScheme(bits, symmetric)
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) ** 3
    low, high = x.min().item(), x.max().item()
    by_hand = min(quantization_error(x, (low * i / 100, high * i / 100), scheme) for i in range(1, 101))
    assert quantization_error(x, estimate("mse", x, scheme=scheme), scheme) == pytest.approx(by_hand, rel=0.02)


def test_mse_keeps_a_uniform_range() -> None:
    low, high = estimate("mse", uniform(-1, 1))
    assert (low, high) == pytest.approx((-1, 1), abs=0.021)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("value", [0.0, 3.5])
def test_distribution_without_width(name: str, value: float) -> None:
    low, high = estimate(name, torch.full((100,), value), bounds=RELU)
    assert low <= high == value


@pytest.mark.parametrize("name", ESTIMATORS)
def test_network_is_left_as_it_was(name: str) -> None:
    network = fold(trained().model)
    before = copy.deepcopy(network)
    images = coloured_noise(20, seed=3)
    ranges = estimate_ranges(network, batches_of(images.images), calibration(name), EIGHT_BITS)
    assert same_tensors(network, before)
    assert list(ranges) == [place.name for place in network.sites()]
    assert all(type(place.activation) is FloatActivation for place in network.sites())
    assert all(place.activation.bounds == place.bounds for place in network.sites())
    x = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        assert torch.equal(network(x), before(x))


def test_minmax_ranges_are_the_extremes_of_every_place() -> None:
    network, images = fold(trained().model), coloured_noise(20, seed=3).images
    stored: dict[str, Tensor] = {}
    for place in network.sites():
        place.register_forward_hook(lambda module, arguments, output, name=place.name: stored.update({name: output}))
    with torch.no_grad():
        network(next(iter(batches_of(images)())))
    ranges = estimate_ranges(network, batches_of(images), calibration("minmax"), EIGHT_BITS)
    for name, (low, high) in ranges.items():
        assert (low.item(), high.item()) == (stored[name].min().item(), stored[name].max().item()), name


@pytest.mark.parametrize(("activation", "clipped"), [("as_is", True), ("relu", False)])
def test_ranges_of_relu6_end_at_6(activation: str, clipped: bool) -> None:
    network = fold(random_network(model_config(activation), seed=0).float())
    ranges = estimate_ranges(network, batches_of(coloured_noise(20, 3).images), calibration("minmax"), EIGHT_BITS)
    activated = [ranges[place.name] for place in network.sites() if place.bounds.low == 0.0]
    assert all(low.item() >= 0.0 for low, _ in activated)
    assert (max(high.item() for _, high in activated) == 6.0) is clipped


def test_every_kind_s_range_is_the_best_for_its_own_width() -> None:
    network, images, mixed = fold(trained().model), batches_of(coloured_noise(20, 3).images), mixed_scheme().activations
    found = estimate_ranges(network, images, calibration("mse"), mixed)
    for bits in (4, 8):
        alone = estimate_ranges(network, images, calibration("mse"), ActivationScheme(bits, symmetric=False))
        own = [place.name for place in network.sites() if mixed.of(place.kind, place.name, signed=False).bits == bits]
        assert own and all(found[name] == alone[name] for name in own)
        others = found.keys() - set(own)
        assert any(found[name] != alone[name] for name in others), "negative control"
