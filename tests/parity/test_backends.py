"""Every backend of a network, under every scheme, gives the same integers everywhere."""

import dataclasses
from pathlib import Path

import pytest
import torch
from made_programs import Program, program_of
from small_networks import IMAGE_SIZE, blends, calibration, checkpoint, coloured_dataset, mixed_scheme, scheme, trained

from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.parity.backends import Backend, program_backends, reference_backend, simulation_backend
from selectq.parity.compare import all_logits, compare_layers, compare_pairs
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme

slow = pytest.mark.slow
SCHEMES = [
    pytest.param(scheme(8, "tensor", 8, symmetric=False), id="tensor-asymmetric", marks=slow),
    pytest.param(scheme(8, "channel", 8, symmetric=True), id="channel-symmetric", marks=slow),
    pytest.param(mixed_scheme(), id="mixed"),
    pytest.param(scheme(3, "tensor", 2, symmetric=True), id="w3a2-symmetric", marks=slow),
]
"""A scale per tensor and per channel, both kinds of range, 8 bits and fewer; not every combination of them."""


def backends_of(program: Program, folder: Path, formats: tuple[str, ...]) -> list[Backend]:
    for ending in formats:
        write_program(folder / f"some.{ending}", program.reference, program.manifest)
    programs = program_backends(folder, "some", formats, program.reference)
    return [simulation_backend(program.simulation), reference_backend(program.reference), *programs]


def assert_all_the_same(chosen: Scheme, folder: Path, formats: tuple[str, ...], expected: list[str]) -> None:
    program, images = program_of(chosen), blends(200).numpy()
    backends = backends_of(program, folder, formats)
    assert [backend.name for backend in backends] == expected
    logits = {backend.name: all_logits(backend, images, "some") for backend in backends}
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert pairs["differing_pct"].max() == 0, pairs.to_string()
    layers = compare_layers("some", program.reference, backends, images[:40])
    assert len(layers) == 63 * sum(backend.stored is not None for backend in backends)
    assert layers["steps"].max() == 0, layers[layers["steps"] > 0].to_string()


@pytest.mark.parametrize("chosen", SCHEMES)
def test_all_backends_compute_the_same(chosen: Scheme, tmp_path: Path) -> None:
    names = ["simulation", "reference", "onnx_plain", "onnx", "torch_export"]
    assert_all_the_same(chosen, tmp_path, ("onnx", "pt2"), names)


@slow  # ExecuTorch takes half a minute
def test_executorch_computes_the_same(tmp_path: Path) -> None:
    chosen = scheme(8, "tensor", 8, symmetric=True)  # scales per channel: test_formats
    assert_all_the_same(chosen, tmp_path, ("pte",), ["simulation", "reference", "executorch"])


@slow
def test_layer_that_puts_out_nothing_is_loaded_everywhere(tmp_path: Path) -> None:
    parent = trained()
    with torch.no_grad():
        parent.model.features[8].conv[0][1].bias[:] = -100
    network = quantize(parent, coloured_dataset(), calibration(), scheme(), seed=0)
    reference = to_reference(network)
    manifest = describe_program(dataclasses.replace(checkpoint(scheme()), network=network), IMAGE_SIZE)
    program, images = Program(network, reference, manifest, tmp_path), blends(40).numpy()
    logits = {backend.name: backend.logits(images) for backend in backends_of(program, tmp_path, ("onnx", "pte"))}
    assert len(logits) == 5
    assert compare_pairs("some", logits, logits["reference"].argmax(1))["differing_pct"].max() == 0


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"some\.pt2: no such file"):
        program_backends(tmp_path, "some", ("pt2",), program_of(scheme()).reference)
