"""Flaws: each does what it says to the experiment, none touches the network that it was given."""

import copy
import dataclasses
import functools
from typing import Any

import pytest
import torch
from small_networks import (
    coloured_dataset,
    coloured_noise,
    committed_params,
    model_config,
    random_network,
    same_tensors,
    trained,
)
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.analysis.audit import audit
from selectq.analysis.flaws import FLAWS
from selectq.analysis.setup import Setup, sound_setup
from selectq.config.configs import AuditFlaws
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph

AUDIT = committed_params().audit
CONFIG = dataclasses.replace(AUDIT, calibration=dataclasses.replace(AUDIT.calibration, images=8))
TRAINING = coloured_noise(1000, 0)
IMAGES = coloured_noise(6, 3).images

SETTINGS: dict[str, Any] = {
    "dead_channels": "kept",
    "fusion": "none",
    "calibration_images": 1,
    "calibration_pixels": "unit",
    "inference_pixels": "unit",
    "activation_bits": 7,
    "activation_range": "symmetric",
    "activation_function": "relu6",
    "batch_norm": "training",
    "statistics_batches": 0,
    "outlier_channel": 10,
    "outlier_weight": 10,
    "range_skew": 0.25,
    "products": "saturating",
}


@functools.cache
def graph() -> Graph:
    return capture(trained().model)


def setup(model: nn.Module | None = None) -> Setup:
    return sound_setup(model or trained().model, graph(), TRAINING, CONFIG, seed=0)


def with_flaw(name: str, setting: Any) -> Setup:
    return FLAWS[name](setup(), setting)


def logits(model: MobileNetV2) -> Tensor:
    """In double precision: rounding is not taken for a change of the function."""
    with torch.no_grad():
        return copy.deepcopy(model).double()((IMAGES.double() - 128) / 64)


def test_every_flaw_of_the_parameters_has_its_function() -> None:
    assert sorted(FLAWS) == sorted(field.name for field in dataclasses.fields(AuditFlaws))


@pytest.mark.parametrize("name", FLAWS)
def test_network_that_is_audited_stays_as_it_is(name: str) -> None:
    model = trained().model
    FLAWS[name](setup(model), SETTINGS[name])
    assert same_tensors(model, trained().model)
    assert str(model) == str(trained().model) and not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("name", "setting", "changed"),
    [
        ("calibration_images", 3, {"calibration"}),
        ("calibration_pixels", "byte", {"calibration_pixels"}),
        ("inference_pixels", "byte", {"inference_pixels"}),
        ("activation_bits", 7, {"activations"}),
        ("activation_range", "symmetric", {"activations"}),
        ("fusion", "none", {"backend"}),
        ("products", "saturating", {"backend"}),
    ],
)
def test_flaw_changes_one_part_of_the_experiment(name: str, setting: Any, changed: set[str]) -> None:
    sound = setup()
    flawed = FLAWS[name](sound, setting)
    parts = [field.name for field in dataclasses.fields(Setup)]
    assert {part for part in parts if getattr(sound, part) is not getattr(flawed, part)} == changed


def test_few_calibration_images_and_few_bits() -> None:
    assert len(with_flaw("calibration_images", 3).calibration_batches()[0]) == 3
    assert with_flaw("activation_bits", 7).activations.bits == 7
    assert with_flaw("activation_range", "symmetric").activations.symmetric


def alive() -> Setup:
    """The sound experiment with a random network, of which every channel counts."""
    return setup(random_network(model_config(), 0))


@pytest.mark.parametrize(("name", "setting"), [("range_skew", 1.0), ("outlier_channel", 100)])
def test_function_is_kept(name: str, setting: float) -> None:
    sound, flawed = alive().model, FLAWS[name](alive(), setting).model
    assert torch.allclose(logits(flawed), logits(sound), rtol=1e-9)
    assert not same_tensors(flawed, sound)


def test_outlier_channel_is_in_the_stored_values() -> None:
    depthwise = [with_flaw("outlier_channel", factor).model.features[2].conv[1] for factor in (1, 100)]
    gammas = [layer[1].weight.abs() for layer in depthwise]
    assert ((gammas[1] / gammas[0]) > 50).sum() == 1


def test_outlier_weight_is_one_weight_that_counts() -> None:
    before, after = (FLAWS["outlier_weight"](alive(), factor).model for factor in (1, 1000))
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert sum((one != other).sum().item() for one, other in pairs) == 1
    assert not torch.allclose(logits(before), logits(after), atol=1e-3)


def test_dead_channels_are_silenced_unless_they_are_kept() -> None:
    model = trained().model
    conv, norm, _ = model.features[1].conv[0]
    norm.running_var[0] = 0
    sound = setup(model)
    kept = FLAWS["dead_channels"](sound, "kept")
    assert (sound.model.features[1].conv[0][0].weight[0] == 0).all()
    assert torch.equal(kept.model.features[1].conv[0][0].weight, conv.weight)


def test_initial_statistics() -> None:
    norms = [module for module in with_flaw("statistics_batches", 0).model.modules() if hasattr(module, "running_var")]
    assert all((norm.running_mean == 0).all() and (norm.running_var == 1).all() for norm in norms)


def test_statistics_approach_those_of_the_training() -> None:
    far, near = (with_flaw("statistics_batches", batches).model.features[0][1].running_mean for batches in (1, 4))
    mean = setup().model.features[0][1].running_mean
    assert (near - mean).norm() < (far - mean).norm()


def test_raw_pixels() -> None:
    byte, unit = (with_flaw("inference_pixels", scale).inference_pixels(IMAGES) for scale in ("byte", "unit"))
    assert torch.equal(byte, IMAGES.float()) and torch.allclose(unit * 255, byte)
    calibrated = with_flaw("calibration_pixels", "unit")
    assert calibrated.calibration_batches()[0].max() <= 1 and calibrated.inference_pixels is setup().inference_pixels


def test_activation_is_exchanged_everywhere() -> None:
    kinds = {type(module) for module in with_flaw("activation_function", "relu6").model.modules()}
    assert nn.ReLU6 in kinds and nn.ReLU not in kinds


@pytest.mark.parametrize("name", ["outlier_channel", "outlier_weight", "range_skew"])
def test_flaw_that_needs_a_free_scale_is_refused_without_one(name: str) -> None:
    flaws = AuditFlaws(
        **{field.name: () for field in dataclasses.fields(AuditFlaws)} | {name: (2.0 if name == "range_skew" else 2,)}
    )
    clipped = random_network(model_config("as_is"), 0).eval()
    with pytest.raises(UserError, match=f"^audit.flaws.{name}: this network has no channel whose scale is free; "):
        audit(clipped, coloured_dataset(), dataclasses.replace(CONFIG, images=4, flaws=flaws, combined=()), seed=0)
