"""Chosen scales: nothing that a network computes is near a rounding tie, in any network, under any scheme."""

import functools

import pytest
import torch
from known_networks import NETWORKS, build
from small_networks import calibration, mixed_scheme, quantized, scheme
from torch import Tensor, nn

from selectq.graph.bounds import HARD_SWISH_INPUT
from selectq.graph.capture import capture
from selectq.quantization.fake_quantize import weight_integers
from selectq.quantization.folding import fold
from selectq.quantization.network import LookupNode, Network, Site
from selectq.quantization.quantized import Scheme, insert_quantizers
from selectq.quantization.quantizers import per_output
from selectq.quantization.range_estimation import estimate_ranges
from selectq.quantization.scale_assignment import ScaleAssignment, quantizer_of, scales_of, weight_quantizer_of
from selectq.quantization.scale_groups import shared_scales, sum_groups
from selectq.quantization.scales import LARGEST_TIE_FREE_DENOMINATOR, tie_free_output_scale, whole_share

SCHEMES = {"w8a8": scheme(), "symmetric": scheme(granularity="tensor", symmetric=True), "w4a4": scheme(4, bits=4)}


def pixels(count: int = 4, size: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 256, (count, 3, size, size), generator=generator)
    return ((codes.float() - 128) / 64).contiguous(memory_format=torch.channels_last)


@functools.cache
def quantized_network(name: str, chosen: Scheme) -> Network:
    """For all tests: they leave it as it is."""
    network = fold(build(name)).to(memory_format=torch.channels_last)
    ranges = estimate_ranges(network, lambda: [pixels()], calibration(), chosen.activations)
    insert_quantizers(network, chosen, ranges)
    return network


@torch.no_grad()
def nearest_to_ties(network: Network) -> dict[str, float]:
    """Site name -> how near, in integer steps, its raw outputs come to a rounding tie, computed in double precision."""
    found: dict[str, float] = {}

    def measure(site: nn.Module, read: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(site, Site)
        raw, quantizer = raw_output(site, [x.double() for x in read]), quantizer_of(site)
        steps = raw / quantizer.scale.double()
        inside = (steps + quantizer.zero_point).clamp(quantizer.integers().quant_min, quantizer.integers().quant_max)
        steps = steps[(inside - quantizer.zero_point - steps).abs() < 1]  # what saturates meets no tie that counts
        found[site.name] = ((steps - steps.floor()) - 0.5).abs().amin().item() if len(steps) else 0.5

    handles = [site.register_forward_hook(measure) for site in network.sites()]
    network(pixels())
    for handle in handles:
        handle.remove()
    return found


def raw_output(site: Site, read: list[Tensor]) -> Tensor:
    """What a site computes before it is rounded: its layer's on its quantized parameters, a gate on its own grid."""
    if site.node.is_layer:
        parameters = site.weight_quantizer(site.weight.double(), site.bias.double())
        return site.raw(*read, *parameters)
    return site.raw(*read)


FAST = {
    ("mobilenet_v2", "w8a8"),
    ("resnet18", "w8a8"),
    ("mobilenet_v3_small", "w8a8"),
    ("mobilenet_v3_small", "symmetric"),
    ("shufflenet_v2_x1_0", "w8a8"),
    ("shufflenet_v2_x1_0", "w4a4"),
}
CASES = [(name, "w8a8") for name in NETWORKS]
CASES += [(name, chosen) for name in ("mobilenet_v3_small", "shufflenet_v2_x1_0") for chosen in ("symmetric", "w4a4")]


def near_ties(network: Network) -> set[str]:
    """The sites that a tie counts for: what an exporter checks over all codes, a plain sigmoid, is none of them."""
    free = {site.name for site in network.sites() if isinstance(site, LookupNode) and not site.multiplies}
    margins = {site.name: (0.4 if site.node.is_layer else 2) / LARGEST_TIE_FREE_DENOMINATOR for site in network.sites()}
    return {name for name, found in nearest_to_ties(network).items() if found < margins[name]} - free


@pytest.mark.parametrize(
    ("name", "chosen"), [pytest.param(*case, marks=() if case in FAST else pytest.mark.slow) for case in CASES]
)
def test_nothing_is_near_a_tie(name: str, chosen: str) -> None:
    assert not near_ties(quantized_network(name, SCHEMES[chosen]))


def test_ordinary_scales_would_meet_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: products and averages whose scales are those that their ranges ask for."""
    monkeypatch.setattr("selectq.quantization.scale_assignment.tie_free_output_scale", lambda scale, step: scale)
    network = quantized_network.__wrapped__("mobilenet_v3_small", scheme())
    assert "product" in {network[name].kind for name in near_ties(network)}


def test_concatenated_tensors_share_a_scale() -> None:
    network = quantized_network("squeezenet1_1", scheme())
    groups = shared_scales(network.graph)
    assert len(groups) == 8 and all(len(group) == 2 for group in groups)
    for group in groups:
        quantizers = [quantizer_of(network[name]) for name in group]
        assert quantizers[0].scale == quantizers[1].scale and quantizers[0].zero_point == quantizers[1].zero_point
        highest = max(quantizer.high for quantizer in quantizers)
        assert all(quantizer.scale * 255 == pytest.approx(highest.item()) for quantizer in quantizers)


def test_three_is_a_whole_number_of_steps_before_a_hard_swish() -> None:
    network = quantized_network("mobilenet_v3_small", scheme())
    sites = [site for site in network.sites() if site.bounds == HARD_SWISH_INPUT]
    assert len(sites) == 19 == len([site for site in network.sites() if isinstance(site, LookupNode)])
    for quantizer in map(quantizer_of, sites):
        steps = 3 / quantizer.scale.item()
        assert steps == pytest.approx(round(steps)) and quantizer.zero_point == round(steps)
        assert (255 - quantizer.zero_point) * quantizer.scale >= 0.999 * quantizer.high


def test_zero_point_before_a_hard_swish_does_not_depend_on_the_range() -> None:
    network = quantized_network.__wrapped__("mobilenet_v3_small", scheme())
    quantizer = next(quantizer_of(site) for site in network.sites() if site.bounds == HARD_SWISH_INPUT)
    quantizer.low.fill_(-1.0)
    ScaleAssignment(network).assign()
    assert quantizer.zero_point * quantizer.scale == pytest.approx(3.0)


@pytest.mark.parametrize("high", [0.14, 1.0, 7.7, 90.0, 2000.0])
def test_whole_share_is_prime_to_the_gate(high: float) -> None:
    scale = whole_share(torch.tensor((high + 3) / 255), 3.0, 255)
    steps = round(3 / scale.item())
    assert 1 <= steps <= 255 and scale.item() == pytest.approx(3 / steps)
    assert steps == 1 or scale >= (high + 3) / 255
    codes = torch.arange(256, dtype=torch.double) * 255 / (2 * steps)
    ties = (codes - codes.floor() == 0.5).nonzero().flatten() / steps
    assert all(tie % 2 == 1 for tie in ties.tolist()), "where the input is 0, 6, 12 ... and no gate matters"


@pytest.mark.parametrize("step", [1e-4, 0.0021, 0.3])
@pytest.mark.parametrize("scale", [0.004, 0.0313])
def test_tie_free_output_scale_is_a_little_coarser(scale: float, step: float) -> None:
    found = tie_free_output_scale(torch.tensor(scale), torch.tensor(step)).double().item()
    assert scale * 0.999999 <= found <= scale * (1 + 3 * max(step / scale, 1 / 512))
    products = torch.arange(-65025, 65026, dtype=torch.double) * (torch.tensor(step).double() / found)
    inside = products[products.abs() < 255]
    assert ((inside - inside.floor()) - 0.5).abs().min() > 1e-5


def test_sums_of_products_have_the_products_unit() -> None:
    """The stem's hard-swish is a summand: one step of its product is the unit times a power of two."""
    network = quantized_network("mobilenet_v3_large", scheme())
    (group,) = (group for group in sum_groups(network.graph) if any(network[name].kind == "lookup" for name in group))
    lookup = network[next(name for name in group if network[name].kind == "lookup")]
    source = network.source(lookup.node.inputs[0])
    assert source is not None
    step = quantizer_of(source).scale.item() / 255
    counts = [quantizer_of(network[name]).scale.item() / step for name in group]
    unit = 2.0 ** -next(power for power in range(24) if min(counts) * 2**power >= 256)
    assert all(count / unit == pytest.approx(round(count / unit), abs=1e-3) for count in counts)
    assert min(count / unit for count in counts) < 1024, "the unit is not just very small"


def test_scales_follow_ranges_and_weights_and_nothing_else() -> None:
    network = quantized(scheme())
    assignment, before = ScaleAssignment(network), [scale.clone() for _, scale in scales_of(network)]
    assignment.assign()
    assert all(map(torch.equal, before, (scale for _, scale in scales_of(network))))
    moved = next(network.sites())
    quantizer_of(moved).high.mul_(2)
    assignment.assign()
    changed = {
        name for (name, scale), old in zip(scales_of(network), before, strict=True) if not torch.equal(scale, old)
    }
    readers = {reader.name for reader in network.graph.real_readers(moved.name)}
    expected = {f"{moved.name} (activations)", f"{moved.name}.weight", f"{moved.name}.bias"}
    assert changed == expected | {f"{name}.{part}" for name in readers for part in ("weight", "bias")}


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_scales_make_room_for_unequal_biases(granularity: str) -> None:
    """One bias, the last and negative, is so large that the weights' scale has to make room for it."""
    network = quantized(scheme(granularity=granularity))
    for layer in network.layers():
        layer.bias.data[-1] = -1e9
    ScaleAssignment(network).assign()
    for layer in network.layers():
        _, bias = layer.weight_quantizer(layer.weight, layer.bias)
        assert bias[-1].item() == pytest.approx(-1e9, rel=1e-3), layer.name


def test_no_weight_saturates_where_widths_differ() -> None:
    network = quantized(mixed_scheme())
    for layer in network.layers():
        quantizer = weight_quantizer_of(layer)
        largest = weight_integers(quantizer.scheme).quant_max * per_output(quantizer.scale, layer.weight)
        assert (layer.weight.abs() <= largest * 1.0001).all(), layer.name
        assert (layer.weight.abs() > largest / 2).any(), "nor is the scale too coarse"


def test_rounded_weights_are_a_fixed_point() -> None:
    """Also at 4 bits: scales are stored, and do not follow what rounding made of the largest weight."""
    network = quantized(scheme(4))
    for layer in network.layers():
        weight, bias = layer.weight_quantizer(layer.weight, layer.bias)
        again, bias_again = layer.weight_quantizer(weight, bias)
        assert torch.equal(weight, again) and torch.equal(bias, bias_again)


class Meeting(nn.Module):
    """A concatenation of two SiLUs, of which one is a summand, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.one, self.other = nn.SiLU(), nn.SiLU()
        self.pool, self.again, self.classifier = nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        one, other = self.one(self.left(x)), self.other(self.right(x))
        pooled = self.pool(torch.cat([one, other], 1)), self.again(one + x)
        logits: Tensor = self.classifier(torch.cat(pooled, 1).flatten(1))
        return logits


def test_groups_hold_all_that_meets() -> None:
    """What two SiLUs that meet read has one scale; a sum takes in what is concatenated with its summand."""
    graph = capture(Meeting())
    assert set(map(frozenset, shared_scales(graph))) == {
        frozenset({"left", "right"}),
        frozenset({"one", "other"}),
        frozenset({"pool", "again"}),
    }
    (sums,) = sum_groups(graph)
    assert set(sums) == {"stem", "one", "other", "add"}


class Beside(nn.Module):
    """A product beside what it reads: both have one scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.pool = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        logits: Tensor = self.classifier(self.pool(torch.cat([x, x * self.gate(x)], 1)).flatten(1))
        return logits


def test_product_beside_what_it_reads_has_a_scale() -> None:
    network = fold(Beside())
    ranges = estimate_ranges(network, lambda: [pixels()], calibration(), scheme().activations)
    insert_quantizers(network, scheme(), ranges)
    ((one, other),) = shared_scales(network.graph)
    assert quantizer_of(network[one]).scale == quantizer_of(network[other]).scale > 0
