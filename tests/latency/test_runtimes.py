"""What a program file is fed, and which files are refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_networks import SIZE, exported, images
from onnx import TensorProto, helper

from selectq.config.formats import FORMATS
from selectq.errors import UserError
from selectq.export.onnx import ONNX
from selectq.programs.format import Images
from selectq.programs.program import find

Sizes = Sequence[int | str]


def write_sum(path: Path, *inputs: tuple[str, int, Sizes]) -> Path:
    """An ONNX file that puts out each of its inputs, given as name, type and sizes, as float."""
    taken = [helper.make_tensor_value_info(*entry) for entry in inputs]
    given = [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, sizes) for name, _, sizes in inputs]
    nodes = [helper.make_node("Cast", [name], [f"{name}_out"], to=TensorProto.FLOAT) for name, _, _ in inputs]
    graph = helper.make_graph(nodes, "graph", taken, given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("dtype", "sizes", "expected"),
    [
        (TensorProto.FLOAT, ["n", 3, 8, 6], Images("x", "float32", (3, 8, 6))),
        (TensorProto.UINT8, ["n", 8, 6, 3], Images("x", "uint8", (8, 6, 3))),
        (TensorProto.FLOAT, [4, 1, 8, 6], Images("x", "float32", (1, 8, 6), least=4, most=4)),
    ],
)
def test_any_onnx_file_of_images_is_read(dtype: int, sizes: Sizes, expected: Images, tmp_path: Path) -> None:
    assert ONNX.images(write_sum(tmp_path / "m.onnx", ("x", dtype, sizes))) == expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            [("a", TensorProto.FLOAT, ["n", 3, 8, 8]), ("b", TensorProto.FLOAT, ["n", 3, 8, 8])],
            "takes 2 inputs (a, b); allowed: one input, of images",
        ),
        ([("x", TensorProto.INT64, ["n", 3, 8, 8])], "the input x is tensor(int64) (n, 3, 8, 8); allowed: "),
        ([("x", TensorProto.FLOAT, ["n", 128])], "the input x is tensor(float) (n, 128); allowed: "),
        ([("x", TensorProto.FLOAT, [])], "the input x is tensor(float) (); allowed: "),
        (
            [("x", TensorProto.FLOAT, ["n", 3, "height", "width"])],
            "the input x is tensor(float) (n, 3, height, width); allowed: uint8 or float32 images, (batch, 3 fixed "
            "sizes)",
        ),
    ],
)
def test_what_takes_no_images_is_refused(inputs: list[tuple[str, int, Sizes]], message: str, tmp_path: Path) -> None:
    path = write_sum(tmp_path / "m.onnx", *inputs)
    with pytest.raises(UserError) as error:
        ONNX.images(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_images_fill_the_range_and_are_the_same_each_time() -> None:
    codes, numbers = (Images("x", dtype, (3, 8, 8)).random(4) for dtype in ("uint8", "float32"))
    assert (codes.shape, codes.dtype, codes.min(), codes.max()) == ((4, 3, 8, 8), np.uint8, 0, 255)
    assert numbers.dtype == np.float32 and 0 <= numbers.min() < 0.02 and 0.98 < numbers.max() < 1
    assert np.array_equal(codes, Images("y", "uint8", (3, 8, 8)).random(4))


@pytest.mark.slow
@pytest.mark.parametrize("ending", FORMATS.own)
def test_runtimes_compute_the_same(ending: str) -> None:
    """OpenVINO, which is no backend of the parity check, rounds otherwise: tests of the benchmark look at it."""
    form = find(ending)
    runtime, *_ = form.runtimes()
    if not runtime.installed:
        pytest.skip(f"{runtime.package} is not installed")
    program = exported("plain")
    path = program.path(f".{ending}")
    assert form.images(path) == Images("pixels", "uint8", (3, SIZE, SIZE), most=256 if ending == "pte" else None)
    pixels = images(8).numpy()
    with torch.no_grad():
        expected = program.reference(torch.from_numpy(pixels)).numpy()
    logits = np.asarray(runtime.prepare(path, pixels, torch.get_num_threads())())
    assert np.allclose(logits, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.01, "the logits differ by more than what is tolerated"
