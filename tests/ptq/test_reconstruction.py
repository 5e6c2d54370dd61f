"""Learned rounding of a whole network: nearer to the FP32 network, on neighbouring codes, repeatable, and exported."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from known_networks import build
from onnx import numpy_helper
from small_networks import (
    CLASSES,
    IMAGE_SIZE,
    blends,
    calibration,
    coloured_dataset,
    float_images,
    same_tensors,
    scheme,
    trained,
)

from selectq.config.algorithms import Entry, RoundingSettings
from selectq.config.configs import PtqConfig
from selectq.data.augment import image_batches
from selectq.data.packed import Split
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.parity.backends import program_backends, reference_backend, simulation_backend
from selectq.parity.compare import all_logits, compare_pairs
from selectq.ptq import reconstruction
from selectq.ptq.pipeline import ptq_pipeline
from selectq.ptq.reconstruction import Mix, images_that_fit, reconstruct
from selectq.ptq.walk import single_nodes
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import QuantizedCheckpoint, insert_quantizers
from selectq.quantization.quantizers import WeightQuantizer
from selectq.quantization.range_estimation import estimate_ranges
from selectq.quantization.scale_assignment import ScaleAssignment, scales_of, weight_quantizer_of

W3 = scheme(3)
QUICK = {"iterations": 20, "batch_images": 8, "lr": 0.1, "rounding_weight": 0.01}
LAYERS: Entry = {"adaptive_rounding": QUICK}
BLOCKS: Entry = {"reconstruct_blocks": {**QUICK, "quantized_share": 0.5}}


def made(*algorithms: Entry, seed: int = 0) -> Network:
    config = PtqConfig(W3.weights, W3.activations, calibration(), algorithms)
    return ptq_pipeline(trained(), coloured_dataset(), config, seed=seed)


@functools.cache
def nearest() -> Network:
    return made()


@functools.cache
def by_layers() -> Network:
    return made(LAYERS)


@functools.cache
def by_blocks() -> Network:
    return made(BLOCKS)


def distance(network: Network) -> float:
    """Relative distance of the logits from the FP32 network's, on images that were not calibrated on."""
    x = float_images(60, seed=9)
    with torch.no_grad():
        expected = trained().model(x)
        return ((network(x) - expected).norm() / expected.norm()).item()


def test_brings_it_nearer_to_the_fp32_network() -> None:
    plain = distance(nearest())
    assert plain > 0.1
    assert distance(by_layers()) < 0.7 * plain
    assert distance(by_blocks()) < 0.7 * plain


@pytest.mark.parametrize("learned", [by_layers, by_blocks])
def test_weights_are_on_neighbouring_codes_and_scales_stay(learned: Callable[[], Network]) -> None:
    before, after = nearest(), learned()
    for (name, scale), (_, kept) in zip(scales_of(before), scales_of(after), strict=True):
        assert torch.equal(scale, kept), name
    turned = 0
    pairs = list(zip(before.layers(), after.layers(), strict=True))
    learned_pairs = [(one, other) for one, other in pairs if not torch.equal(one.weight, other.weight)]
    assert len(learned_pairs) > len(pairs) / 2, "the others keep nearest rounding"
    for one, other in learned_pairs:
        quantizer = weight_quantizer_of(other)
        codes, _ = quantizer.codes(other.weight, other.bias)
        assert torch.equal(quantizer(other.weight, other.bias)[0], other.weight), "they are on the grid already"
        scale = quantizer.scale.view(-1, *[1] * (other.weight.ndim - 1))
        assert ((codes - one.weight / scale).abs() < 1.001).all(), other.name
        turned += int((codes != weight_quantizer_of(one).codes(one.weight, one.bias)[0]).sum())
    assert turned > 1000


def test_what_stands_in_while_learning_is_gone() -> None:
    kinds = {type(module) for module in by_blocks().modules()}
    assert kinds == {type(module) for module in nearest().modules()} and WeightQuantizer in kinds
    assert all(parameter.grad is None for parameter in by_blocks().parameters())


def test_mean_outputs_need_no_correction_of_biases() -> None:
    """Behind learned rounding: biases are learned with it."""
    x = float_images(60, seed=9)
    wanted = trained().model(x).mean(0)
    by_rounding, nearest_rounding = ((network(x).mean(0) - wanted).norm() for network in (by_layers(), nearest()))
    assert by_rounding < 0.5 * nearest_rounding
    moved = [
        one
        for one, other in zip(nearest().layers(), by_layers().layers(), strict=True)
        if (one.bias != other.bias).any()
    ]
    assert len(moved) > len(list(nearest().layers())) / 2


def test_values_are_quantized_with_the_probability_asked_for() -> None:
    mix = Mix(0.25, torch.Generator().manual_seed(0))
    shape = (8, 9, 11, 13)  # no multiple of the values to a draw
    for layout in (torch.contiguous_format, torch.channels_last):
        zeros = torch.zeros(shape).to(memory_format=layout)
        mixed = mix(zeros + 1, zeros)
        assert mixed.shape == shape and set(mixed.unique().tolist()) == {0.0, 1.0}
        assert mixed.mean().item() == pytest.approx(0.25, abs=0.02)
        assert mixed.mean((0, 2, 3)).std() < 0.03, "of every channel alike"
    assert not torch.equal(mix(zeros + 1, zeros), mixed)
    assert torch.equal(Mix(0.0, mix.generator)(zeros + 1, zeros), zeros)


def test_repeats_its_tensors_from_the_same_seed_alone() -> None:
    quick: Entry = {"reconstruct_blocks": {**QUICK, "iterations": 2, "quantized_share": 0.5}}
    assert same_tensors(made(quick), made(quick))
    batches = list(image_batches(coloured_dataset().train.part(slice(0, 24))))
    settings = RoundingSettings(iterations=2, batch_images=8, lr=0.1)
    networks = [made() for _ in range(2)]
    for seed, network in enumerate(networks):
        units = single_nodes(network.graph)
        reconstruct(fold(trained().model), network, units, batches, settings, quantized_share=1.0, seed=seed)
    assert not same_tensors(*networks)


def test_settings_are_those_of_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[RoundingSettings, float]]()

    def note(*given: Any, **named: Any) -> list[str]:
        seen.append((given[4], named["quantized_share"]))
        return []

    monkeypatch.setattr(reconstruction, "reconstruct", note)
    made(LAYERS, BLOCKS)
    assert [dataclasses.asdict(settings)["iterations"] for settings, _ in seen] == [20, 20]
    assert [share for _, share in seen] == [1.0, 0.5]


def test_onnx_file_holds_the_learned_codes_and_runs_as_simulated(tmp_path: Path) -> None:
    network = by_blocks()
    checkpoint = QuantizedCheckpoint("some", network, trained().config, CLASSES, W3, ("reconstruct_blocks",))
    reference, manifest = to_reference(network), describe_program(checkpoint, IMAGE_SIZE)
    write_program(tmp_path / "some.onnx", reference, manifest)
    stored = [numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "some.onnx").graph.initializer]
    for layer in list(network.layers())[1:]:
        codes = weight_quantizer_of(layer).codes(layer.weight, layer.bias)[0].detach().numpy().astype(np.int8)
        assert any(
            each.size == codes.size and np.array_equal(each.astype(np.int8).ravel(), codes.ravel()) for each in stored
        )
    forms = [simulation_backend(network), reference_backend(reference)]
    forms += program_backends(tmp_path, "some", ("onnx",), reference)
    logits = {form.name: all_logits(form, blends(100).numpy(), "some") for form in forms}
    assert compare_pairs("some", logits, logits["reference"].argmax(1))["differing_pct"].max() == 0


def test_layer_for_which_nothing_better_is_found_keeps_nearest_rounding() -> None:
    """Weights on the grid already: no rounding of them is better. Of the classifier a dead channel's bias is large."""
    network, float_network = made(), fold(trained().model)
    layer, classifier = network["features.3.conv.0.0"], network["classifier.1"]
    with torch.no_grad():
        layer.weight.zero_()
        float_network[layer.name].weight.zero_()
        float_network[layer.name].bias.fill_(-1)
        classifier.weight[0], classifier.bias[0] = 0, 9
    before, version = (layer.weight.clone(), layer.bias.clone()), layer.weight._version
    batches = list(image_batches(coloured_dataset().train.part(slice(0, 24))))
    settings = RoundingSettings(iterations=5, batch_images=8)
    kept = reconstruct(
        float_network, network, single_nodes(network.graph), batches, settings, quantized_share=1.0, seed=0
    )
    assert layer.name in kept and torch.equal(layer.weight, before[0]) and torch.equal(layer.bias, before[1])
    assert not weight_quantizer_of(layer).clip.any(), "its scale follows its weights still"
    assert layer.weight._version >= version + 2, "written and written back: what is kept of it is made again"
    scale = weight_quantizer_of(classifier).scale.clone()
    ScaleAssignment(network).assign()
    assert torch.equal(weight_quantizer_of(classifier).scale, scale), "room for its bias"


def test_line_names_the_layers_that_keep_nearest_rounding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reconstruction, "reconstruct", lambda *given, **named: ["one", "other"])
    made(LAYERS)
    assert "adaptive_rounding: nothing better than nearest rounding was found for one, other" in capsys.readouterr().err


def test_images_that_do_not_fit_into_memory_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network, image = fold(trained().model), float_images(1, seed=0)
    sizes = dict[str, int]()
    with torch.no_grad():
        network.watched(image, lambda module, output: sizes.update({str(module.name): output.numel()}))
    nodes = single_nodes(network.graph)
    fitting = images_that_fit(network, nodes, image)
    assert (
        reconstruction.MEMORY // (5 * 3 * max(sizes.values()))
        < fitting
        < reconstruction.MEMORY // (5 * max(sizes.values()))
    )
    assert fitting < images_that_fit(network, network.blocks(), image), "inside a block nothing is kept"
    used = list[int]()

    def note(*given: Any, **named: Any) -> list[str]:
        used.append(sum(map(len, given[3])))
        return []

    monkeypatch.setattr(reconstruction, "MEMORY", 16 * reconstruction.MEMORY // fitting)
    monkeypatch.setattr(reconstruction, "reconstruct", note)
    made(LAYERS)
    assert used == [16]
    assert "adaptive_rounding: 16 of 24 calibration images are used, as many as memory holds" in capsys.readouterr().err


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"^calibration.images: 24 are too few; adaptive_rounding needs 32 or more"):
        made("adaptive_rounding")


@pytest.mark.parametrize("name", ["custom", pytest.param("shufflenet_v2_x1_0", marks=pytest.mark.slow)])
def test_blocks_of_other_networks(name: str) -> None:
    """SiLU and products, concatenations, dense and grouped convolutions; shuffles."""
    torch.manual_seed(0)
    model = build(name)
    images = Split(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), torch.zeros(8, dtype=torch.long))
    batches = list(image_batches(images))
    float_network, network = fold(model), fold(model)
    ranges = estimate_ranges(network, lambda: batches, calibration(), W3.activations)
    insert_quantizers(network, W3, ranges)
    network.eval()
    with torch.no_grad():
        expected = float_network(batches[0])
        before = (network(batches[0]) - expected).norm()
    settings = RoundingSettings(iterations=30, batch_images=4, lr=0.1)
    reconstruct(float_network, network, network.blocks(), batches, settings, quantized_share=0.5, seed=0)
    with torch.no_grad():
        assert (network(batches[0]) - expected).norm() < before
