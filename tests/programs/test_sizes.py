"""Where the bytes go: counted by hand on small files, and on the three formats of a network."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from selectq.programs.program import find


def byte_counts(path: Path) -> dict[str, int]:
    return find(path.suffix[1:]).byte_counts(path)


def small_onnx(path: Path, weight: onnx.TensorProto, cast: bool) -> Path:
    """One convolution of 4 channels: `weight` (4, 3, 3, 3), a bias, scales and zero points."""
    read = "wide" if cast else "w"
    nodes = [helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.INT8)] if cast else []
    nodes += [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["x_float"]),
        helper.make_node("DequantizeLinear", [read, "w_scale", "w_zero"], ["w_float"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["b_float"], axis=0),
        helper.make_node("Conv", ["x_float", "w_float", "b_float"], ["y"]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
    ]
    constants = {
        "x_scale": np.float32(1),
        "x_zero": np.uint8(128),
        "w_scale": np.ones(4, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "b": np.zeros(4, np.int32),
        "b_scale": np.ones(4, np.float32),
        "b_zero": np.zeros(4, np.int32),
        "shape": np.array([-1]),
    }
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [None])],
        [weight, *(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())],
    )
    onnx.save(helper.make_model(graph), path)
    return path


SCALES = 4 + 1 + 16 + 4 + 16 + 16
LEVELS = np.random.RandomState(0).randint(-7, 8, (4, 3, 3, 3)).astype(np.int8)


def test_onnx_tensors_are_measured(tmp_path: Path) -> None:
    path = small_onnx(tmp_path / "m.onnx", numpy_helper.from_array(LEVELS, "w"), cast=False)
    rest = path.stat().st_size - 108 - 16 - SCALES
    assert byte_counts(path) == {"weights": 108, "biases": 16, "scales": SCALES, "graph": rest}


def test_int4_weights_take_half_a_byte(tmp_path: Path) -> None:
    pairs = LEVELS.reshape(-1, 2).astype(np.uint8) & 15
    packed = (pairs[:, 0] | pairs[:, 1] << 4).tobytes()
    weight = TensorProto(name="w", data_type=TensorProto.INT4, dims=LEVELS.shape, raw_data=packed)
    assert np.array_equal(numpy_helper.to_array(weight).astype(np.int8), LEVELS)
    assert byte_counts(small_onnx(tmp_path / "m.onnx", weight, cast=True))["weights"] == 54


def test_tensor_that_is_written_number_by_number_counts_as_it_is_written(tmp_path: Path) -> None:
    raw = small_onnx(tmp_path / "raw.onnx", numpy_helper.from_array(LEVELS, "w"), cast=False)
    numbers = helper.make_tensor("w", TensorProto.INT8, LEVELS.shape, LEVELS.flatten().tolist())
    typed = small_onnx(tmp_path / "typed.onnx", numbers, cast=False)
    grown = typed.stat().st_size - raw.stat().st_size
    assert grown > 0, "a negative number takes ten bytes"
    assert byte_counts(typed)["weights"] - byte_counts(raw)["weights"] == pytest.approx(grown, abs=8)


def test_pt2_entries_are_measured_each_once(tmp_path: Path) -> None:
    tensors = {
        "network.a.weight": "weight_0",
        "network.a.bias": "weight_1",
        "network.a.weight_quantizer.weight.scales": "weight_2",
        "network.a.weight_quantizer.weight.zero_points": "weight_3",
        "network.b.weight_quantizer.weight.zero_points": "weight_3",
        "unheard_of": "weight_4",
    }
    config = {"config": {name: {"path_name": path} for name, path in tensors.items()}}
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(config))
        for number, size in enumerate((100, 20, 8, 5, 3)):
            archive.writestr(f"m/data/weights/weight_{number}", bytes(size))
    assert byte_counts(path) == {"weights": 100, "biases": 20, "scales": 13, "graph": path.stat().st_size - 133}
