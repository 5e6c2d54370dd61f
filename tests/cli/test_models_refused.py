"""What is no model is refused in one line that names the file and the reason, by every command."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from brightest import Command, brightest_model, encoded, float_model, manifest, picture

NEWER_OPSET = 99


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def another_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path


def valid() -> bytes:
    return brightest_model(manifest().to_json()).SerializeToString()


MODELS: dict[str, tuple[Callable[[], Path], str]] = {
    "missing": (lambda: Path("gone.onnx"), "gone.onnx: no such file"),
    "folder": (lambda: Path("images"), "images: no ending; a model file ends in .onnx, .pt2, .pte"),
    "unknown ending": (
        lambda: damaged(Path("m.tflite"), b"x"),
        "m.tflite: .tflite ending; a model file ends in .onnx, .pt2, .pte",
    ),
    "text": (
        lambda: damaged(Path("m.onnx"), b"hello, this is not a model\n"),
        "m.onnx: not an ONNX program that ONNX Runtime can load (",
    ),
    "empty": (lambda: damaged(Path("m.onnx"), b""), "m.onnx: not an ONNX program that ONNX Runtime can load ("),
    "truncated": (
        lambda: damaged(Path("m.onnx"), valid()[: len(valid()) // 2]),
        "m.onnx: not an ONNX program that ONNX Runtime can load (",
    ),
    "float": (
        lambda: damaged(Path("m.onnx"), float_model().SerializeToString()),
        "m.onnx: a float model, not an INT8 one; an INT8 program written by selectq's convert stage is needed",
    ),
    "quantized by another tool": (
        lambda: damaged(Path("m.onnx"), brightest_model(None).SerializeToString()),
        "m.onnx: a quantized model, but without selectq's description; an INT8 program written by selectq's convert",
    ),
    "another description": (
        lambda: damaged(Path("m.onnx"), brightest_model('{"name": "old"}').SerializeToString()),
        "m.onnx: its description is not selectq's (",
    ),
    "newer opset": (
        lambda: damaged(Path("m.onnx"), brightest_model(manifest().to_json(), NEWER_OPSET).SerializeToString()),
        "m.onnx: not an ONNX program that ONNX Runtime can load (",
    ),
    "text as pt2": (lambda: damaged(Path("m.pt2"), b"hello"), "m.pt2: not a torch.export program ("),
    "another zip as pt2": (
        lambda: another_zip(Path("m.pt2")),
        "m.pt2: ",
    ),
    "onnx as pt2": (lambda: damaged(Path("m.pt2"), valid()), "m.pt2: not a torch.export program ("),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect"])
def test_model_is_refused(command: str, name: str, here: Path, selectq: Command) -> None:
    (here / "images" / "red").mkdir(parents=True)
    (here / "images" / "red" / "0.png").write_bytes(encoded(picture(0)))
    make, message = MODELS[name]
    data = [] if command == "inspect" else ["images"]
    assert selectq.refusal(command, make(), *data).startswith(message)


def test_newer_opset_is_named(here: Path, selectq: Command) -> None:
    make, _ = MODELS["newer opset"]
    assert str(NEWER_OPSET) in selectq.refusal("inspect", make())


def test_the_same_files_undamaged_are_accepted(here: Path, selectq: Command) -> None:
    """Negative control: what is refused above is refused for what was done to it."""
    onnx.save(brightest_model(manifest().to_json()), "m.onnx")
    assert selectq("inspect", "m.onnx").status == 0
