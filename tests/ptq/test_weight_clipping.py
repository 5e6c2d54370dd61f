"""Weight ranges by squared error: at least as good as any other on the grid, and kept."""

import pytest
import torch
from small_networks import quantized, scheme

from selectq.config.algorithms import ALGORITHMS
from selectq.ptq.registry import find
from selectq.ptq.weight_clipping import best_clip
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.quantizers import per_output
from selectq.quantization.scale_assignment import ScaleAssignment, weight_quantizer_of
from selectq.quantization.scales import covering_scale, largest_magnitude


def errors(weight: torch.Tensor, clip: torch.Tensor, bits: int, granularity: str) -> torch.Tensor:
    """The squared error of every channel, or of all."""
    own = scheme(bits, granularity).weights
    rounded = fake_quantize(
        weight, per_output(covering_scale(clip, own), weight), torch.zeros(()), weight_integers(own)
    )
    return (rounded - weight).square().reshape(len(clip), -1).sum(1)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_no_other_range_is_better(granularity: str) -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) ** 3
    own = scheme(4, granularity).weights
    clip, largest = best_clip(weight, own), largest_magnitude(weight, own)
    best = errors(weight, clip, 4, granularity)
    for share in torch.linspace(0.05, 1.0, 20):
        assert (best <= errors(weight, largest * share, 4, granularity) * 1.02).all(), share
    assert (best < errors(weight, largest, 4, granularity)).all(), "long tails are cut"
    assert (clip < largest).all() and (clip > 0).all()


def test_weights_on_the_grid_keep_their_range() -> None:
    weight = torch.arange(-7.0, 8.0).repeat(2, 1)
    assert torch.equal(best_clip(weight, scheme(4).weights), torch.tensor([7.0, 7.0]))


def test_weights_of_zero_have_no_range_of_their_own() -> None:
    assert not best_clip(torch.zeros(3, 5), scheme(4).weights).any()


def test_scales_cover_the_ranges_that_were_chosen_and_no_longer_follow_the_weights() -> None:
    assert "clip_weights" in ALGORITHMS.own and [each.when for each in find(["clip_weights"])] == ["after"]
    network = quantized(scheme(4))
    before = {layer.name: weight_quantizer_of(layer).scale.clone() for layer in network.layers()}
    for layer in network.layers():
        weight_quantizer_of(layer).clip.copy_(best_clip(layer.weight, scheme(4).weights))
    assignment = ScaleAssignment(network)
    assignment.assign()
    chosen = {layer.name: weight_quantizer_of(layer).scale.clone() for layer in network.layers()}
    assert sum((chosen[name] < 0.95 * before[name]).any().item() for name in chosen) > 10
    with torch.no_grad():
        for layer in network.layers():
            layer.weight[0] *= 2
    assignment.assign()
    assert all(torch.equal(weight_quantizer_of(layer).scale, chosen[layer.name]) for layer in network.layers())
