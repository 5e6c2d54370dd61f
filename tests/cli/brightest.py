"""A program small enough to be written by hand, pictures that it tells apart, and running the `selectq` command."""

import io
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from selectq.cli.main import main
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME, LayerEntry, Manifest

CLASSES = ("red", "green", "blue")
SIZE = 16
OPSET = 21


def manifest(classes: Sequence[str] = CLASSES, size: int = SIZE) -> Manifest:
    return Manifest(
        name="brightest",
        classes=tuple(classes),
        image_size=size,
        weights={"bits": 8, "granularity": "channel"},
        activations={"bits": 8, "symmetric": False},
        layers=(LayerEntry("classifier.1", "classifier", (3, 3), 8, 3, "none", None, None),),
    )


def brightest_model(description: str | None, opset: int = OPSET) -> onnx.ModelProto:
    """Its logits are the channels' means, dequantized by 1/64 and 128; `description` is what stands for a manifest."""
    nodes = [
        helper.make_node("DequantizeLinear", [INPUT_NAME, "scale", "zero"], ["floats"]),
        helper.make_node("ReduceMean", ["floats", "axes"], [OUTPUT_NAME], keepdims=0),
    ]
    constants = {"scale": np.float32(1 / 64), "zero": np.uint8(128), "axes": np.array([2, 3])}
    return _model(nodes, constants, TensorProto.UINT8, description, opset)


def float_model() -> onnx.ModelProto:
    """What an engineer might have exported before quantization."""
    nodes = [helper.make_node("ReduceMean", [INPUT_NAME, "axes"], [OUTPUT_NAME], keepdims=0)]
    return _model(nodes, {"axes": np.array([2, 3])}, TensorProto.FLOAT, None, OPSET)


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], taken: int, description: str | None, opset: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(INPUT_NAME, taken, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if description is not None:
        model.metadata_props.add(key="selectq", value=description)
    return model


def write_model(path: Path, classes: Sequence[str] = CLASSES) -> Path:
    onnx.save(brightest_model(manifest(classes).to_json()), path)
    return path


def picture(channel: int, seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """Noise in which a channel is the brightest; `size` is width and height."""
    pixels = np.random.RandomState(seed).randint(0, 160, (size[1], size[0], 3), np.uint8)
    pixels[:, :, channel] += 90
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, form)
    return content.getvalue()


def deep_picture() -> bytes:
    """16 bits per channel."""
    return encoded(Image.fromarray(np.full((SIZE, SIZE), 40_000, np.uint16)))


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).transpose(2, 0, 1)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


class Command:
    """Runs the `selectq` command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr("sys.argv", ["selectq", *map(str, arguments)])
        self._capsys.readouterr()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGPIPE)}
        status: object = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert isinstance(status, int)
        return Ended(status, *self._capsys.readouterr())

    def refusal(self, *arguments: object) -> str:
        """The one line of a user's mistake, without its `error: `; nothing else is printed."""
        ended = self(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
        return ended.err.removeprefix("error: ").removesuffix("\n")
