"""The ONNX file: integer operators alone, small, of the same bytes, and described."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from exported_networks import BESIDE_WEIGHTS, program_of
from small_networks import blends, mixed_scheme, scheme, trained

from selectq.config.configs import widths
from selectq.export.onnx import float_operators, open_session, operator_counts
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME
from selectq.programs.program import open_program
from selectq.quantization.quantized import Scheme

slow = pytest.mark.slow
SCHEMES = [
    pytest.param(scheme(8, "tensor", 8, symmetric=False), id="tensor-asymmetric"),
    pytest.param(scheme(8, "channel", 8, symmetric=True), id="channel-symmetric"),
    pytest.param(scheme(4, "channel", 4, symmetric=False), id="w4a4"),
    pytest.param(mixed_scheme(), id="mixed"),
    pytest.param(scheme(3, "tensor", 2, symmetric=True), id="w3a2-symmetric", marks=slow),
]
ANY = SCHEMES[0].values[0]
FOUR_BITS = SCHEMES[2].values[0]
FOURTH_CHANNEL = 16 * 9  # of the stem: zeros


def convolutions_and_classifier() -> int:
    return sum(parameter.numel() for parameter in trained().model.parameters() if parameter.ndim > 1)


@pytest.mark.parametrize("chosen", SCHEMES)
def test_every_operator_is_an_integer_operator(chosen: Scheme) -> None:
    counts = operator_counts(program_of(chosen).path())
    assert (counts["QLinearConv"], counts["QLinearAdd"], counts["QGemm"]) == (52, 10, 1)
    assert counts["QLinearGlobalAveragePool"] == 1
    assert float_operators(counts) == {}


@pytest.mark.parametrize("batch", [1, 7])
def test_batch_may_be_of_any_size(batch: int) -> None:
    program, pixels = open_program(program_of(ANY).path()), blends(14).numpy()
    whole = program.logits(pixels)
    parts = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
    assert np.array_equal(np.concatenate([program.logits(part) for part in parts]), whole)


def test_input_and_output_are_as_documented() -> None:
    session = open_session(program_of(ANY).path(), optimise=True)
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape[1:]) == (INPUT_NAME, "tensor(uint8)", [3, 16, 16])
    assert (logits.name, logits.type, logits.shape[1:]) == (OUTPUT_NAME, "tensor(float)", [3])


def weights(path: Path) -> list[onnx.TensorProto]:
    kinds = (onnx.TensorProto.INT8, onnx.TensorProto.INT4)
    return [item for item in onnx.load(path).graph.initializer if item.data_type in kinds and len(item.dims) > 1]


@pytest.mark.parametrize("chosen", SCHEMES)
def test_file_is_small_and_holds_all_weights_as_integers(chosen: Scheme) -> None:
    path = program_of(chosen).path()
    assert path.stat().st_size <= convolutions_and_classifier() + BESIDE_WEIGHTS
    assert sum(int(np.prod(item.dims)) for item in weights(path)) == convolutions_and_classifier() + FOURTH_CHANNEL
    kinds = {onnx.TensorProto.INT8 if bits > 4 else onnx.TensorProto.INT4 for bits in widths(chosen.weights.bits)}
    assert {item.data_type for item in weights(path)} == kinds


def test_weights_of_more_bits_stay_whole() -> None:
    found = [item for item in weights(program_of(mixed_scheme()).path()) if item.data_type == onnx.TensorProto.INT8]
    assert sorted(tuple(item.dims) for item in found) == [(3, 1280), (16, 4, 3, 3)], "classifier and padded stem"


def histograms(tensors: list[np.ndarray]) -> list[list[int]]:
    """How often each level stands in each tensor, in any order of the tensors."""
    return sorted(np.bincount(tensor.astype(int).flatten() + 8, minlength=16).tolist() for tensor in tensors)


def test_four_bit_weights_take_half_a_byte_each_and_keep_their_levels() -> None:
    path, reference = program_of(FOUR_BITS).path(), program_of(FOUR_BITS).reference
    assert path.stat().st_size <= convolutions_and_classifier() / 2 + BESIDE_WEIGHTS
    found = [onnx.numpy_helper.to_array(item) for item in weights(path)]
    expected = [layer.weight.numpy() for layer in reference.network.layers()]
    expected[0] = np.pad(expected[0], ((0, 0), (0, 1), (0, 0), (0, 0)))  # the stem's fourth channel
    assert histograms(found) == histograms(expected)


def test_file_does_not_say_where_it_was_made() -> None:
    here = Path(__file__).resolve().parents[2]
    content = program_of(ANY).path().read_bytes()
    assert not any(text.encode() in content for text in (str(here), "site-packages", "/tmp", ".py"))
