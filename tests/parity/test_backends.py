"""Every backend of a network, under every scheme, gives the same integers everywhere."""

from pathlib import Path

import pytest
import torch
from exported_networks import Exported, export, exported, images
from known_networks import build
from small_networks import CLASSES, mixed_scheme, scheme

from selectq.errors import UserError
from selectq.parity.backends import program_backends
from selectq.parity.compare import all_logits, compare_layers, compare_pairs
from selectq.quantization.quantized import Scheme

slow = pytest.mark.slow
SCHEMES = [
    pytest.param(mixed_scheme(), id="mixed"),
    pytest.param(scheme(3, "tensor", 2, symmetric=True), id="w3a2-symmetric", marks=slow),
]
"""A scale per channel and per tensor, both kinds of range, 8 bits (see also ExecuTorch's test) and fewer."""


def assert_all_the_same(program: Exported, formats: tuple[str, ...], expected: list[str]) -> None:
    backends, pixels = program.backends(*formats), images(200).numpy()
    assert [backend.name for backend in backends] == expected
    logits = {backend.name: all_logits(backend, pixels, "some") for backend in backends}
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert pairs["differing_pct"].max() == 0, pairs.to_string()
    layers = compare_layers("some", program.reference, backends, pixels[:40])
    stored = sum(backend.stored is not None for backend in backends)
    assert len(layers) == len(list(program.simulation.sites())) * stored
    assert layers["steps"].max() == 0, layers[layers["steps"] > 0].to_string()


@pytest.mark.parametrize("chosen", SCHEMES)
def test_all_backends_compute_the_same(chosen: Scheme) -> None:
    names = ["simulation", "reference", "onnx_plain", "onnx", "torch_export"]
    assert_all_the_same(exported("plain", chosen), ("onnx", "pt2"), names)


@slow
def test_executorch_computes_the_same() -> None:
    chosen = scheme(8, "tensor", 8, symmetric=True)  # scales per channel: test_formats
    names = ["simulation", "reference", "onnx_plain", "onnx", "torch_export", "executorch"]
    assert_all_the_same(exported("plain", chosen), ("onnx", "pt2", "pte"), names)


@slow
def test_layer_that_puts_out_nothing_is_loaded_everywhere() -> None:
    model = build("plain", len(CLASSES))
    with torch.no_grad():
        model.expand[1].bias[:] = -100
    found = export(model, scheme()).backends("onnx", "pte")
    logits = {backend.name: backend.logits(images(40).numpy()) for backend in found}
    assert len(logits) == 5
    assert compare_pairs("some", logits, logits["reference"].argmax(1))["differing_pct"].max() == 0


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"some\.pt2: no such file"):
        program_backends(tmp_path, "some", ("pt2",), exported("plain").reference)
