"""A float network's ONNX file gives the logits of the FP32 module."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from known_networks import NETWORKS, build

from selectq.export.float_program import write_float_onnx
from selectq.export.onnx import ONNX
from selectq.quantization.folding import fold

FAST = ("mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "efficientnet_b0")
"""Together they have every kind of node and activation function."""

CASES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits_are_those_of_the_module(name: str, tmp_path: Path) -> None:
    model, images = build(name), torch.randn(4, 3, 64, 64)
    write_float_onnx(tmp_path / "float.onnx", fold(model), 64)
    session = onnxruntime.InferenceSession(tmp_path / "float.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    wanted = model(images)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(torch.from_numpy(logits), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_bench_can_feed_it(tmp_path: Path) -> None:
    write_float_onnx(tmp_path / "float.onnx", fold(build("squeezenet1_1")), 64)
    images = ONNX.images(tmp_path / "float.onnx")
    assert (images.dtype, images.shape, images.least, images.most) == ("float32", (3, 64, 64), 1, None)
