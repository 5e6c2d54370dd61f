"""The PTQ pipeline as a whole: nearer to the FP32 network, data not order, and the same in the integer program."""

import dataclasses
import functools
from importlib.metadata import EntryPoint
from pathlib import Path

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

from selectq.config.algorithms import ALGORITHMS, RELU6_AS_RELU, SETTINGS, Entry
from selectq.config.configs import PtqConfig
from selectq.config.configurations import with_algorithms
from selectq.data.packed import Split
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.graph.capture import capture
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.range_skew import skew_ranges
from selectq.parity.backends import program_backends, reference_backend, simulation_backend
from selectq.parity.compare import all_logits, compare_pairs
from selectq.ptq import bias_correction
from selectq.ptq.metrics import simulated_metrics
from selectq.ptq.pipeline import equivalent_fp32, ptq_pipeline
from selectq.ptq.registry import PtqState, When, find, register
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme
from selectq.report.wording import write_algorithms

OWN = tuple(ALGORITHMS.own)
TENSOR = some_scheme(8, "tensor")
QUICK = {"iterations": 5, "batch_images": 8, "lr": 0.2, "rounding_weight": 0.01}
ENTRIES: dict[str, Entry] = {
    "adaptive_rounding": {"adaptive_rounding": QUICK},
    "reconstruct_blocks": {"reconstruct_blocks": {**QUICK, "quantized_share": 0.5}},
}
"""Settings of the algorithms that have some."""


def skewed() -> Fp32Checkpoint:
    """The trained network with ranges that one scale per tensor cannot serve."""
    fp32 = trained()
    skew_ranges(fp32.model, capture(fp32.model), 1.5, seed=3)
    return fp32


def quantized_by(*names: str, fp32: Fp32Checkpoint | None = None) -> Network:
    entries = tuple(ENTRIES.get(name, name) for name in names)
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), entries)
    return ptq_pipeline(fp32 or skewed(), coloured_dataset(), config, seed=0)


@functools.cache
def plain() -> Network:
    """Without algorithms; not to be changed."""
    return quantized_by()


def distance(network: Network, fp32: Fp32Checkpoint | None = None) -> float:
    """Relative distance of the logits from the FP32 network's."""
    x = float_images(60, seed=9)
    with torch.no_grad():
        expected = (fp32 or trained()).model(x)
        return ((network(x) - expected).norm() / expected.norm()).item()


def test_names_that_parameters_allow_are_those_of_the_algorithms() -> None:
    assert tuple(algorithm.name for algorithm in find(reversed(OWN))) == OWN, "in the order in which they act"
    assert ALGORITHMS.names() == OWN and SETTINGS.keys() == ENTRIES.keys()


def test_without_algorithms_it_is_plain_quantization() -> None:
    assert same_tensors(plain(), quantize(skewed(), coloured_dataset(), calibration(), TENSOR, seed=0))


def test_algorithms_bring_it_nearer_to_fp32() -> None:
    before, equalized = distance(plain()), distance(quantized_by("equalize"))
    assert before > 0.3 and equalized < before / 3
    assert distance(quantized_by("zero_dead_channels", "equalize", "correct_bias")) < before / 3


def test_nearly_dead_channel_costs_equalization_nothing() -> None:
    """A channel that puts out 1/2, give or take next to nothing: the float function hardly knows it."""
    fp32 = trained()
    norm = fp32.model.features[8].conv[0][1]
    with torch.no_grad():
        norm.weight[5], norm.bias[5] = 1e-6, 0.5
    assert distance(quantized_by("equalize", fp32=fp32), fp32) < 2 * distance(quantized_by(fp32=fp32), fp32)


@pytest.mark.parametrize("algorithm", [name for name in OWN if name not in ("zero_dead_channels", RELU6_AS_RELU)])
def test_each_algorithm_does_something_and_leaves_fp32_alone(algorithm: str) -> None:
    fp32 = skewed()
    assert not same_tensors(quantized_by(algorithm, fp32=fp32), plain())
    assert same_tensors(fp32.model, skewed().model)


@pytest.mark.parametrize("algorithm", ["reestimate_batchnorm", "correct_bias"])
def test_images_of_an_algorithm_are_drawn_by_the_seed(algorithm: str) -> None:
    """And are those of the calibration: ranges are fixed beforehand, so that the seed can show in nothing else."""
    asked = []

    class Watched(Split):
        def sample(self, count: int, seed: int) -> Split:
            asked.append((count, seed))
            return super().sample(count, seed)

    dataset = coloured_dataset()
    watched = dataclasses.replace(dataset, train=Watched(dataset.train.images, dataset.train.labels))
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), (algorithm,))
    ptq_pipeline(trained(), watched, config, seed=7)
    assert set(asked) == {(24, 7)} and len(asked) == 2, "for the ranges, and for the algorithm"


def test_biases_are_corrected_towards_the_network_whose_function_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not towards that of the re-estimated statistics."""
    references: list[Network] = []
    monkeypatch.setattr(
        bias_correction, "correct_bias", lambda reference, network, batches: references.append(reference)
    )
    quantized_by("reestimate_batchnorm", "correct_bias", fp32=trained())
    assert same_tensors(references[0], fold(trained().model))


def test_equivalent_fp32_computes_the_same_by_other_activations() -> None:
    fp32, x = skewed(), float_images(8, seed=1)
    equalized = equivalent_fp32(fp32, OWN)
    unchanged = equivalent_fp32(fp32, ("reestimate_batchnorm", "correct_bias"))
    assert same_tensors(unchanged.model, fp32.model)
    assert not same_tensors(equalized.model, fp32.model)
    with torch.no_grad():
        assert torch.allclose(equalized.model(x), fp32.model(x), rtol=1e-3, atol=1e-4)


def test_equalization_that_changes_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def chains_found(*names: str, fp32: Fp32Checkpoint) -> int | None:
        found: int | None = simulated_metrics(fp32, names, 50.0, retrained=0).get("equalized_chains")
        return found

    relu6 = trained("as_is")
    assert chains_found("equalize", "correct_bias", fp32=relu6) == 0
    assert capsys.readouterr().out.startswith("equalize: changes nothing, the network has no two layers")
    assert same_tensors(equivalent_fp32(relu6, ["equalize"]).model, relu6.model)
    assert chains_found("equalize", fp32=trained()) == chains_found("equalize", RELU6_AS_RELU, fp32=relu6) == 17
    assert chains_found("correct_bias", fp32=relu6) is None and capsys.readouterr().out == ""


def test_integer_program_gives_the_same_answers(tmp_path: Path) -> None:
    fp32 = skewed()
    with torch.no_grad():  # a dead channel: a layer's weights are 0, its bias is not
        fp32.model.features[2].conv[0][1].weight[4] = 0
        fp32.model.features[2].conv[0][1].bias[4] = -1
        fp32.model.features[2].conv[1][1].running_mean[4] = 0
        fp32.model.features[2].conv[1][1].running_var[4] = 0
    network = quantized_by(*OWN, fp32=fp32)
    scheme = Scheme(TENSOR.weights, TENSOR.activations)
    checkpoint = QuantizedCheckpoint("some", network, fp32.config, CLASSES, scheme, OWN)
    reference, manifest = to_reference(network), describe_program(checkpoint, IMAGE_SIZE)
    write_program(tmp_path / "some.onnx", reference, manifest)
    programs = program_backends(tmp_path, "some", ("onnx",), reference)
    images = blends(100).numpy()
    forms = [simulation_backend(network), reference_backend(reference), *programs]
    logits = {form.name: all_logits(form, images, "some") for form in forms}
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert pairs["differing_pct"].max() == 0, pairs.to_string()
    assert len(dataclasses.asdict(manifest)["layers"]) == 53


class HalveBiases:
    """A made-up algorithm of another package."""

    name = "halve_biases"
    when: When = "after"

    def apply(self, state: PtqState) -> None:
        for layer in state.quantized.layers():
            layer.bias.data /= 2


@pytest.fixture
def halve_biases(monkeypatch: pytest.MonkeyPatch) -> str:
    """Registered while a test runs."""
    monkeypatch.setattr(ALGORITHMS, "_made", dict(ALGORITHMS._made))
    return register(HalveBiases()).name


def test_algorithm_from_outside_takes_part_once_it_is_registered(halve_biases: str) -> None:
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), ("equalize", halve_biases))
    equalized, halved = quantized_by("equalize"), ptq_pipeline(skewed(), coloured_dataset(), config, seed=0)
    for one, other in zip(equalized.layers(), halved.layers(), strict=True):
        assert torch.equal(one.bias / 2, other.bias)
    assert with_algorithms("none", [halve_biases, "equalize"]) == "none; equalize + halve_biases"
    assert write_algorithms([halve_biases, "equalize"]) == "equalization, halve biases"


def test_algorithm_of_an_installed_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("halve_biases", f"{__name__}:HalveBiases", ALGORITHMS.group)
    monkeypatch.setitem(ALGORITHMS._offered, "halve_biases", point)
    assert ALGORITHMS.names() == (*OWN, "halve_biases")
    assert [each.name for each in find(["halve_biases", "equalize"])] == ["equalize", "halve_biases"]
    with pytest.raises(UserError, match=r"^algorithms: 'halve_biases' is taken by another PTQ algorithm$"):
        register(HalveBiases())


def test_algorithm_that_nobody_registered_is_refused() -> None:
    with pytest.raises(UserError, match=r"^algorithms\[0\]: 'halve_biases' is not allowed; allowed: relu6_as_relu, "):
        quantized_by("halve_biases")
    with pytest.raises(UserError, match=r"^algorithms: 'halve_biases' is no PTQ algorithm; allowed: relu6_as_relu, "):
        find(["halve_biases"])
