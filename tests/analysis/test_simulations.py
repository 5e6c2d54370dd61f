"""Forms: the fused one is the pipeline's own, the one that is not fused computes the same in float."""

import dataclasses
import inspect

import pytest
import torch
from exported_networks import images
from known_networks import build
from small_networks import (
    CLASSES,
    calibration,
    coloured_dataset,
    coloured_noise,
    committed_params,
    float_images,
    scheme,
    trained,
)

from selectq.analysis.audit import GRANULARITIES
from selectq.analysis.flaws import FLAWS
from selectq.analysis.setup import Setup, sound_setup
from selectq.analysis.simulations import Fused, Granularity, Simulated, Unfused
from selectq.graph.capture import capture
from selectq.graph.nodes import PIXELS
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.post_training import quantize
from selectq.quantization.scales import weight_scale

CONFIG = dataclasses.replace(committed_params().audit, calibration=calibration())
DATASET = coloured_dataset()
IMAGES = float_images(8, 3)


def setup() -> Setup:
    model = trained().model
    return sound_setup(model, capture(model), DATASET.train, CONFIG, seed=0)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_fused_is_the_pipeline_s_own_quantization(granularity: Granularity) -> None:
    network = quantize(trained(), DATASET, calibration(), scheme(granularity=granularity), seed=0)
    head, logits = setup().simulation().quantized(granularity)(IMAGES)
    assert torch.allclose(logits, network(IMAGES), rtol=0, atol=1e-5)
    assert torch.allclose(head, network.compute("features.18.0", {PIXELS: IMAGES}), rtol=0, atol=1e-5)


def test_unfused_computes_the_same_in_float() -> None:
    fused, unfused = (each.simulation().floating() for each in (setup(), FLAWS["fusion"](setup(), "none")))
    for one, other in zip(fused(IMAGES), unfused(IMAGES), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["custom", "mobilenet_v3_small", "resnet18", "mnasnet0_5", "squeezenet1_1"])
def test_unfused_computes_the_same_in_any_network(name: str) -> None:
    """Its head's output too, whether a module, a function or a sum makes it."""
    model, shown = build(name, len(CLASSES)), DATASET.train.normalization(images(4))
    recipe = Simulated(calibration(), CONFIG.activations, weight_bits=8)
    fused, unfused = (backend(model, DATASET.train.normalization, [shown], recipe) for backend in (Fused, Unfused))
    for one, other in zip(fused.floating()(shown), unfused.floating()(shown), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    head, logits = unfused.quantized("channel")(shown)
    assert not torch.equal(head, unfused.floating()(shown)[0]) and logits.isfinite().all()


def test_unfused_quantizes_weights_as_they_are_and_every_output() -> None:
    simulated = FLAWS["fusion"](setup(), "none").simulation()
    assert isinstance(simulated, Unfused)
    assert len(simulated.ranges) == 2 * 52 + 10 + 1, "convolutions, batch norms, sums and the average"
    quantized = simulated.quantized("channel")
    head, _ = quantized(IMAGES)
    assert len(head.unique()) <= 256 < len(simulated.floating()(IMAGES)[0].unique())

    conv, per_channel = simulated.model.features[2].conv[1][0], scheme().weights
    scale = weight_scale(conv.weight, per_channel)
    expected = fake_quantize(conv.weight, scale, torch.zeros_like(scale), weight_integers(per_channel))
    assert not torch.equal(expected, conv.weight)
    own = inspect.getclosurevars(quantized).nonlocals["model"].features[2].conv[1][0]
    assert torch.equal(own.weight, expected)


def test_batch_norm_in_training_mode_depends_on_the_batch() -> None:
    sound, flawed = (each.simulation().floating() for each in (setup(), FLAWS["batch_norm"](setup(), "training")))
    others = torch.cat([IMAGES[:1], float_images(7, 9)])
    assert torch.allclose(sound(IMAGES)[1][0], sound(others)[1][0], atol=1e-4)
    assert not torch.allclose(flawed(IMAGES)[1][0], flawed(others)[1][0], atol=1e-2)


def test_calibration_images_are_those_of_the_pipeline() -> None:
    (batch,) = setup().calibration_batches()
    expected = DATASET.train.sample(calibration().images, 0).images
    assert torch.equal(batch, (expected.float() - 128) / 64)
    assert not torch.equal(batch, (coloured_noise(24, 0).images.float() - 128) / 64), "in random order"
