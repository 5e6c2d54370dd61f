"""Repaired quantization as a whole: nearer to the parent, data not order, and the same in the integer program."""

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import torch
from small_networks import (
    CLASSES,
    IMAGE_SIZE,
    blends,
    calibration,
    coloured_dataset,
    float_images,
    same_tensors,
    trained,
)
from small_networks import scheme as some_scheme

from selectq.data.packed import Split
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.graph.capture import capture
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.range_skew import skew_ranges
from selectq.params.configs import PtqConfig, Repair
from selectq.parity.backends import program_backends, reference_backend, simulation_backend
from selectq.parity.compare import all_logits, compare_pairs
from selectq.quantization.network import Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme
from selectq.quantization.repairs.repaired import ADAPTED, CORRECTED, EQUIVALENT, equivalent_parent, quantize_repaired

TENSOR = some_scheme(8, "tensor")
REPAIRS: tuple[Repair, ...] = get_args(Repair)


def skewed() -> Fp32Checkpoint:
    """The trained network with ranges that one scale per tensor cannot serve."""
    parent = trained()
    skew_ranges(parent.model, capture(parent.model), 1.5, seed=3)
    return parent


def repaired(*repairs: Repair, parent: Fp32Checkpoint | None = None) -> Network:
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), repairs)
    return quantize_repaired(parent or skewed(), coloured_dataset(), config, seed=0)


def distance(network: Network, parent: Fp32Checkpoint | None = None) -> float:
    """Relative distance of the logits from the FP32 network's."""
    x = float_images(60, seed=9)
    with torch.no_grad():
        expected = (parent or trained()).model(x)
        return ((network(x) - expected).norm() / expected.norm()).item()


def test_every_repair_is_in_one_table() -> None:
    assert (*EQUIVALENT, *ADAPTED, *CORRECTED) == REPAIRS


def test_without_repairs_it_is_plain_quantization() -> None:
    assert same_tensors(repaired(), quantize(skewed(), coloured_dataset(), calibration(), TENSOR, seed=0))


def test_repairs_bring_it_nearer_to_the_parent() -> None:
    plain, equalized = distance(repaired()), distance(repaired("equalize"))
    assert plain > 0.3 and equalized < plain / 3
    assert distance(repaired("zero_dead_channels", "equalize", "correct_bias")) < plain / 3


def test_nearly_dead_channel_costs_equalization_nothing() -> None:
    """A channel that puts out 1/2, give or take next to nothing: the float function hardly knows it."""
    parent = trained()
    norm = parent.model.features[8].conv[0][1]
    with torch.no_grad():
        norm.weight[5], norm.bias[5] = 1e-6, 0.5
    assert distance(repaired("equalize", parent=parent), parent) < 2 * distance(repaired(parent=parent), parent)


@pytest.mark.parametrize("repair", [name for name in REPAIRS if name != "zero_dead_channels"])
def test_each_repair_does_something_and_leaves_the_parent_alone(repair: Repair) -> None:
    parent = skewed()
    assert not same_tensors(repaired(repair, parent=parent), repaired())
    assert same_tensors(parent.model, skewed().model)


@pytest.mark.parametrize("repair", ["reestimate_batchnorm", "correct_bias"])
def test_images_of_a_repair_are_drawn_by_the_seed(repair: Repair) -> None:
    """And are those of the calibration: ranges are fixed beforehand, so that the seed can show in nothing else."""
    asked = []

    class Watched(Split):
        def sample(self, count: int, seed: int) -> Split:
            asked.append((count, seed))
            return super().sample(count, seed)

    dataset = coloured_dataset()
    watched = dataclasses.replace(dataset, train=Watched(dataset.train.images, dataset.train.labels))
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), (repair,))
    quantize_repaired(trained(), watched, config, seed=7)
    assert set(asked) == {(24, 7)} and len(asked) == 2, "for the ranges, and for the repair"


def test_order_in_which_they_are_listed_does_not_matter() -> None:
    assert same_tensors(repaired(*REPAIRS), repaired(*reversed(REPAIRS)))


def test_equivalent_parent_computes_the_same_by_other_activations() -> None:
    parent, x = skewed(), float_images(8, seed=1)
    equalized = equivalent_parent(parent, REPAIRS)
    unchanged = equivalent_parent(parent, ("reestimate_batchnorm", "correct_bias"))
    assert same_tensors(unchanged.model, parent.model)
    assert not same_tensors(equalized.model, parent.model)
    with torch.no_grad():
        assert torch.allclose(equalized.model(x), parent.model(x), rtol=1e-3, atol=1e-4)


def test_integer_program_gives_the_same_answers(tmp_path: Path) -> None:
    parent = skewed()
    with torch.no_grad():  # a dead channel: a layer's weights are 0, its bias is not
        parent.model.features[2].conv[0][1].weight[4] = 0
        parent.model.features[2].conv[0][1].bias[4] = -1
        parent.model.features[2].conv[1][1].running_mean[4] = 0
        parent.model.features[2].conv[1][1].running_var[4] = 0
    network = repaired(*REPAIRS, parent=parent)
    scheme = Scheme(TENSOR.weights, TENSOR.activations)
    checkpoint = QuantizedCheckpoint("some", network, parent.config, CLASSES, scheme, REPAIRS)
    reference, manifest = to_reference(network), describe_program(checkpoint, IMAGE_SIZE)
    write_program(tmp_path / "some.onnx", reference, manifest)
    programs = program_backends(tmp_path, "some", ("onnx",), reference)
    images = blends(100).numpy()
    forms = [simulation_backend(network), reference_backend(reference), *programs]
    logits = {form.name: all_logits(form, images, "some") for form in forms}
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert pairs["differing_pct"].max() == 0, pairs.to_string()
    assert len(dataclasses.asdict(manifest)["layers"]) == 53
