"""Channel ranges and histograms of codes, against brute force."""

import pytest
import torch
from small_networks import float_images, mixed_scheme, quantized, scheme, trained

from selectq.analysis.distributions import channel_ranges, level_histograms, weight_codes
from selectq.config.configs import width_of
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme

LAYERS = ("features.14.conv.1.0", "features.3.conv.2")  # a depthwise convolution and a projection

SCHEMES = {
    "channel": scheme(),
    "tensor": scheme(granularity="tensor"),
    "symmetric": scheme(symmetric=True),
    "few_bits": scheme(3, bits=4),
    "mixed": mixed_scheme(),
}


def stored(network: Network, name: str, images: torch.Tensor) -> torch.Tensor:
    """What a layer stores for the images: (N, O, H, W)."""
    found: list[torch.Tensor] = []
    handle = network[name].register_forward_hook(lambda *call: found.append(call[2]))
    with torch.no_grad():
        network(images)
    handle.remove()
    return found[0]


def test_channel_ranges_by_brute_force() -> None:
    network, images = fold(trained().model), float_images(20, seed=3)
    table = channel_ranges(network, LAYERS, images.split(6))
    assert list(table.columns) == ["layer", "channel", "low", "high"]
    assert set(table.layer) == set(LAYERS)
    for name in LAYERS:
        rows, output = table[table.layer == name], stored(network, name, images)
        assert list(rows.channel) == list(range(output.shape[1]))
        assert list(rows.low) == pytest.approx(output.amin((0, 2, 3)).tolist(), rel=1e-4, abs=1e-4)
        assert list(rows.high) == pytest.approx(output.amax((0, 2, 3)).tolist(), rel=1e-4, abs=1e-4)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("config", SCHEMES)
def test_histograms_by_brute_force(config: str) -> None:
    network, images = quantized(SCHEMES[config]), float_images(12, seed=3)
    table = level_histograms(network, LAYERS, images.split(5))
    assert set(table.layer) == set(LAYERS)
    for name in LAYERS:
        rows = table[(table.layer == name) & (table.tensor == "activation")]
        quantizer = network[name].activation
        codes = (stored(network, name, images) / quantizer.scale + quantizer.zero_point).round().long().flatten()
        counts = torch.bincount(codes)
        assert dict(zip(rows.level, rows.share, strict=True)) == pytest.approx(
            {level: count / len(codes) for level, count in enumerate(counts.tolist()) if count}
        )


@pytest.mark.parametrize("config", SCHEMES)
def test_levels_are_on_their_grids_and_shares_add_up(config: str) -> None:
    chosen: Scheme = SCHEMES[config]
    table = level_histograms(quantized(chosen), LAYERS, [float_images(12, seed=3)])
    sums = table.groupby(["layer", "tensor"]).share.sum()
    assert len(sums) == 4 and sums.to_numpy() == pytest.approx(1.0)
    for name, kind in zip(LAYERS, ("depthwise", "projection"), strict=True):
        rows = table[table.layer == name]
        largest = 2 ** (width_of(chosen.weights.bits, kind, name) - 1) - 1
        assert rows[rows.tensor == "weight"].level.abs().max() == largest, "and the last level is used"
        stored_levels = rows[rows.tensor == "activation"].level
        assert stored_levels.between(0, 2 ** width_of(chosen.activations.bits, kind, name) - 1).all()


def test_symmetric_activations_after_relu_use_the_upper_half() -> None:
    depthwise = LAYERS[:1]
    table = level_histograms(quantized(SCHEMES["symmetric"]), depthwise, [float_images(12, seed=3)])
    assert table[table.tensor == "activation"].level.min() == 128


@pytest.mark.parametrize("config", SCHEMES)
def test_weight_levels_stand_for_the_quantized_weights(config: str) -> None:
    for name in LAYERS:
        layer = quantized(SCHEMES[config])[name]
        codes = weight_codes(layer)
        assert torch.equal(codes, codes.round())
        last_level = 2 ** (width_of(SCHEMES[config].weights.bits, layer.kind, layer.name) - 1) - 1
        finest = layer.weight.abs().flatten(1).amax(1) / last_level
        scale = layer.weight_quantizer.scale
        assert (scale >= 0.9999 * (finest.amax() if config == "tensor" else finest)).all()
        assert torch.equal(codes * scale[:, None, None, None], layer.weight_quantizer(layer.weight, layer.bias)[0])
