"""The program against the reference form, in integer steps and flipped predictions, and the file it is kept in."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import scheme
from programs import Program
from steps import blends, flipped

from selectq.data.augment import normalise
from selectq.export.onnx_program import INPUT_NAME, OUTPUT_NAME
from selectq.export.reference import QuantizeDequantize
from selectq.export.runtime import open_session, operator_counts, program_logits
from selectq.quantization.quantized import Scheme

slow = pytest.mark.slow  # the exporter takes seconds for each
SCHEMES = [
    pytest.param(scheme(8, "tensor", 8, symmetric=False), id="tensor-asymmetric"),
    pytest.param(scheme(8, "channel", 8, symmetric=True), id="channel-symmetric"),
    pytest.param(scheme(4, "channel", 4, symmetric=False), id="w4a4"),
    pytest.param(scheme(8, "tensor", 8, symmetric=True), id="tensor-symmetric", marks=slow),
    pytest.param(scheme(8, "channel", 8, symmetric=False), id="channel-asymmetric", marks=slow),
    pytest.param(scheme(3, "tensor", 2, symmetric=True), id="w3a2-symmetric", marks=slow),
]
ANY = SCHEMES[:1]
DECISIVE = SCHEMES[:-1]  # with 2 bits all images look alike to it
BuildProgram = Callable[[Scheme], Program]


@pytest.mark.parametrize("chosen", SCHEMES)
def test_every_operator_is_an_integer_operator(chosen: Scheme, program_of: BuildProgram) -> None:
    counts = operator_counts(program_of(chosen).path)
    assert (counts["QLinearConv"], counts["QLinearAdd"], counts["QGemm"]) == (52, 10, 1)
    assert counts["QLinearAveragePool"] == 1
    floating = {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "DequantizeLinear", "QuantizeLinear", "Relu"}
    assert floating.isdisjoint(counts)


def stored_levels(program: Program, pixels: np.ndarray, folder: Path) -> list[np.ndarray]:
    """What the program stores at every place, in network order, as uint8 levels."""
    model = onnx.load(program.path)
    weights = {initializer.name for initializer in model.graph.initializer}
    read = [node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    names = list(dict.fromkeys(name for name in read if name not in weights | {INPUT_NAME}))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    onnx.save(model, folder / "watched.onnx")
    return open_session(folder / "watched.onnx").run(names, {INPUT_NAME: pixels})


def reference_levels(program: Program, pixels: torch.Tensor) -> list[torch.Tensor]:
    """What the reference form stores at every place, in the order in which it does."""
    levels: list[torch.Tensor] = []

    def keep(module: QuantizeDequantize, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        levels.append((output / module.scale + module.zero_point).round())

    stores = [module for module in program.reference.modules() if isinstance(module, QuantizeDequantize)]
    handles = [module.register_forward_hook(keep) for module in stores]
    with torch.no_grad():
        program.reference(pixels)
    for handle in handles:
        handle.remove()
    return levels


@pytest.mark.parametrize("chosen", SCHEMES)
def test_program_stores_what_the_reference_stores(chosen: Scheme, program_of: BuildProgram, tmp_path: Path) -> None:
    program, pixels = program_of(chosen), blends(16)
    found, expected = stored_levels(program, pixels.numpy(), tmp_path), reference_levels(program, pixels)
    assert len(found) == len(expected) == 63
    for index, (levels, reference) in enumerate(zip(found, expected, strict=True)):
        assert levels.dtype == np.uint8
        difference = np.abs(levels.astype(float) - reference.numpy())
        assert (difference > 1).mean() < 1e-3, index  # a step's difference may become two further on


@pytest.mark.parametrize("chosen", DECISIVE)
def test_predictions_are_those_of_the_reference(chosen: Scheme, program_of: BuildProgram) -> None:
    program, images = program_of(chosen), blends(400)
    logits = torch.from_numpy(program_logits(open_session(program.path), images.numpy(), "program"))
    with torch.no_grad():
        referred = program.reference(images)
    assert flipped(referred, logits) <= 0.005
    assert ((logits - referred).norm() / referred.norm()).item() < 0.01


@pytest.mark.parametrize("chosen", DECISIVE)
def test_predictions_are_those_of_the_simulation(chosen: Scheme, program_of: BuildProgram) -> None:
    program, images = program_of(chosen), blends(400)
    logits = torch.from_numpy(program_logits(open_session(program.path), images.numpy(), "program"))
    with torch.no_grad():
        simulated = program.simulation(normalise(images))
    assert flipped(simulated, logits) <= 0.005


@pytest.mark.parametrize("chosen", ANY)
def test_optimising_the_graph_does_not_change_the_answer(chosen: Scheme, program_of: BuildProgram) -> None:
    program, pixels = program_of(chosen), blends(100).numpy()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(program.path, options, providers=["CPUExecutionProvider"])
    found, expected = (program_logits(s, pixels, "program") for s in (open_session(program.path), plain))
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("chosen", ANY)
@pytest.mark.parametrize("batch", [1, 7])
def test_batch_may_be_of_any_size(batch: int, chosen: Scheme, program_of: BuildProgram) -> None:
    session, pixels = open_session(program_of(chosen).path), blends(14).numpy()
    (whole,) = session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    parts = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
    assert np.array_equal(np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: part})[0] for part in parts]), whole)


@pytest.mark.parametrize("chosen", ANY)
def test_input_and_output_are_as_documented(chosen: Scheme, program_of: BuildProgram) -> None:
    session = open_session(program_of(chosen).path)
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape[1:]) == (INPUT_NAME, "tensor(uint8)", [3, 16, 16])
    assert (logits.name, logits.type, logits.shape[1:]) == (OUTPUT_NAME, "tensor(float)", [3])


@pytest.mark.parametrize("chosen", SCHEMES)
def test_file_is_small_and_holds_weights_as_bytes(chosen: Scheme, program_of: BuildProgram) -> None:
    path = program_of(chosen).path
    assert path.stat().st_size <= 2_640_000
    weights = [item for item in onnx.load(path).graph.initializer if item.data_type == onnx.TensorProto.INT8]
    convolutions_and_classifier = sum(int(np.prod(item.dims)) for item in weights if len(item.dims) > 1)
    assert convolutions_and_classifier == 2_236_682 - 34_112 - 10 - 7 * 1280  # without batch norms, bias, 7 classes


@pytest.mark.parametrize("chosen", ANY)
def test_file_says_what_it_is_and_not_where_it_was_made(chosen: Scheme, program_of: BuildProgram) -> None:
    path = program_of(chosen).path
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(metadata["selectq"]) == {"name": "some"}
    here = Path(__file__).resolve().parents[2]
    assert not any(text.encode() in path.read_bytes() for text in (str(here), "site-packages", "/tmp", ".py"))


EXPORT = """
import sys
from pathlib import Path
import networks
from selectq.export.onnx_program import write_onnx
from selectq.export.reference import to_reference
chosen = networks.scheme(4, "channel", 8, symmetric=True)
write_onnx(Path(sys.argv[1]), to_reference(networks.quantized(chosen)), 16, {"b": 1, "a": [2]})
"""


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path: Path, checkout: Path) -> None:
    python_path = f"import sys; sys.path[:0] = [{str(checkout / 'src')!r}, {str(checkout / 'tests')!r}]"
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", f"{python_path}\n{EXPORT}", str(tmp_path / name)], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
