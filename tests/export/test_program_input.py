"""Programs take pixels as decoded or as the FP32 network took them, channels first or last, and say which."""

import dataclasses
import os
import re
import shutil
import subprocess
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from known_networks import alive
from numpy.typing import NDArray
from PIL import Image
from small_networks import calibration, model_config, scheme
from torch import nn

from selectq.config.configs import NormalizationConfig
from selectq.data.normalization import INTEGER_GRID, Normalization
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.onnx import open_session
from selectq.export.reference import ReferenceNetwork, to_reference
from selectq.parity.backends import program_backends
from selectq.parity.compare import steps_of
from selectq.programs.manifest import Input, Manifest
from selectq.programs.program import find
from selectq.programs.snippets import onnx_lines
from selectq.quantization.folding import fold
from selectq.quantization.quantized import QuantizedCheckpoint, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges

SIZE = 32
NORMALIZATIONS = {
    "grid": INTEGER_GRID,
    "imagenet": Normalization.of(NormalizationConfig((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
}
TAKEN = [(dtype, layout) for dtype, layout in product(("uint8", "float32"), ("nchw", "nhwc"))][1:]
CASES = [("onnx", *taken, name) for taken in TAKEN for name in NORMALIZATIONS]
CASES += [("pt2", "float32", "nhwc", name) for name in NORMALIZATIONS]
CASES += [("pt2", "uint8", "nhwc", "imagenet")]


def pixels(count: int = 6) -> NDArray[np.uint8]:
    """All codes of every channel occur."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE), np.uint8)
    images[0, :, :8] = np.arange(256).reshape(8, SIZE)
    return images


def small() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.ReLU6()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


@cache
def converted(normalization: str) -> tuple[ReferenceNetwork, QuantizedCheckpoint]:
    chosen = NORMALIZATIONS[normalization]
    torch.manual_seed(0)
    network = fold(alive(small()), normalization=chosen).to(memory_format=torch.channels_last)
    batches = [chosen(torch.from_numpy(pixels()))]
    insert_quantizers(network, scheme(), estimate_ranges(network, lambda: batches, calibration(), scheme().activations))
    made = QuantizedCheckpoint("some", network.eval(), model_config(), tuple("abcdefghij"), scheme())
    return to_reference(network), made


def described(dtype: str, layout: str, normalization: str) -> Manifest:
    return describe_program(converted(normalization)[1], SIZE, dtype, layout)


def check_backends(ending: str, dtype: str, layout: str, normalization: str, folder: Path) -> None:
    """Given the same images through the normalization of the FP32 network, every site stores the same integers."""
    reference, _ = converted(normalization)
    write_program(folder / f"some.{ending}", reference, described(dtype, layout, normalization))
    expected = reference(torch.from_numpy(pixels())).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01, "the logits differ by more than what is tolerated"
    for backend in program_backends(folder, "some", [ending], reference):
        assert np.abs(backend.logits(pixels()) - expected).max() < 1e-4, backend.name
        if backend.stored:
            steps = [steps.max() for _, steps in steps_of(reference, pixels(), backend.stored(pixels()))]
            assert len(steps) == len(list(reference.network.sites())) and max(steps) == 0, backend.name


@pytest.mark.parametrize(("ending", "dtype", "layout", "normalization"), CASES)
@torch.no_grad()
def test_every_backend_computes_the_same_of_it(
    ending: str, dtype: str, layout: str, normalization: str, tmp_path: Path
) -> None:
    check_backends(ending, dtype, layout, normalization, tmp_path)


@pytest.mark.slow  # ExecuTorch takes half a minute
@torch.no_grad()
def test_pte_computes_the_same_of_it(tmp_path: Path) -> None:
    check_backends("pte", "float32", "nhwc", "grid", tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), TAKEN)
def test_file_and_description_say_the_same(dtype: str, layout: str, tmp_path: Path) -> None:
    manifest = described(dtype, layout, "imagenet")
    write_program(tmp_path / "some.onnx", converted("imagenet")[0], manifest)
    (taken,) = open_session(tmp_path / "some.onnx", optimise=True).get_inputs()
    assert taken.type == {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[dtype]
    assert taken.shape[1:] == ([3, SIZE, SIZE] if layout == "nchw" else [SIZE, SIZE, 3])
    images = find("onnx").images(tmp_path / "some.onnx")
    assert (images.dtype, list(images.shape)) == (dtype, taken.shape[1:])
    found = find("onnx").open(tmp_path / "some.onnx").manifest
    assert found.input == manifest.input and found.input.mean == (
        () if dtype == "uint8" else pytest.approx((0.485, 0.456, 0.406))
    )
    line = found.input_line("scaling")
    assert f"{dtype}, (batch, {', '.join(map(str, taken.shape[1:]))}), {layout.upper()}, RGB" in line
    assert ("mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225" in line) == (dtype == "float32")
    assert ("pixels as decoded, 0 to 255" in line) == (dtype == "uint8")


@pytest.mark.parametrize(("dtype", "layout"), TAKEN)
def test_images_are_what_the_network_took(dtype: str, layout: str) -> None:
    taken = described(dtype, layout, "imagenet").input
    images = taken.of_pixels(pixels())
    first = images if layout == "nchw" else images.transpose(0, 3, 1, 2)
    normalised = NORMALIZATIONS["imagenet"](torch.from_numpy(pixels())).numpy()
    assert np.allclose(first, normalised if dtype == "float32" else pixels(), atol=1e-5)
    assert images.dtype == dtype


@pytest.mark.parametrize(
    "wrong", [{"dtype": "int8"}, {"layout": "chw"}, {"dtype": "float32"}, {"mean": [0.5] * 3}, {"mean": [0.5]}]
)
def test_description_of_another_input_is_refused(wrong: dict[str, object]) -> None:
    manifest = dataclasses.replace(described("uint8", "nchw", "grid"), input=Input())
    assert Manifest.from_json(manifest.to_json(), "some.onnx") == manifest
    json_input = {**Input().to_json(), **wrong}
    text = re.sub(r'"input": \{.*?\}', f'"input": {json_input}'.replace("'", '"'), manifest.to_json())
    with pytest.raises(UserError, match=r"^some\.onnx: its description is not selectq's \(input: "):
        Manifest.from_json(text, "some.onnx")


@pytest.mark.parametrize(("dtype", "layout"), [("uint8", "nchw"), *TAKEN])
@torch.no_grad()
def test_python_lines_run_as_they_stand(
    dtype: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reference, _ = converted("imagenet")
    manifest = described(dtype, layout, "imagenet")
    write_program(tmp_path / "some.onnx", reference, manifest)
    shades = np.random.default_rng(1).integers(0, 256, (40, 3, 1, 1), np.uint8)
    images = shades + np.zeros((1, 1, SIZE, SIZE), np.uint8)
    classes = reference(torch.from_numpy(images)).argmax(1).tolist()
    other = next(number for number, each in enumerate(classes) if each != classes[0])  # not all are of one class
    lines = "\n".join(onnx_lines("some.onnx", manifest)["python"])
    for number in (0, other):
        Image.fromarray(images[number].transpose(1, 2, 0)).save(tmp_path / "image.png")
        exec(lines, {})
        assert capsys.readouterr().out == f"[{classes[number]}]\n"


HEADER = "onnxruntime_cxx_api.h"
PLACES = (
    os.environ.get("ONNXRUNTIME_INCLUDE", "."),
    "/usr/include/onnxruntime",
    "/usr/include/onnxruntime/core/session",
    "/usr/local/include",
    "/usr/local/include/onnxruntime",
)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "layout"), [("uint8", "nchw"), ("float32", "nhwc")])
def test_cpp_lines_compile(dtype: str, layout: str, tmp_path: Path) -> None:
    compiler, folder = shutil.which("c++"), next((place for place in PLACES if Path(place, HEADER).is_file()), None)
    if compiler is None or folder is None:
        pytest.skip(f"no C++ compiler, or no {HEADER}: name its folder in ONNXRUNTIME_INCLUDE")
    lines = onnx_lines("some.onnx", described(dtype, layout, "imagenet"))["cpp"]
    (tmp_path / "main.cpp").write_text("\n".join(lines) + "\n")
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-fsyntax-only", "-isystem", folder, "main.cpp"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(("dtype", "layout"), [("uint8", "nchw"), *TAKEN])
def test_other_languages_are_given_the_input_s_shape_and_values(dtype: str, layout: str) -> None:
    manifest = described(dtype, layout, "imagenet")
    cpp, kotlin = ("\n".join(onnx_lines("some.onnx", manifest)[name]) for name in ("cpp", "kotlin"))
    shape = ", ".join(map(str, (1, *manifest.input.shape(SIZE))))
    assert f"shape[] = {{{shape}}}" in cpp and f"longArrayOf({shape})" in kotlin
    assert (f"c * {SIZE * SIZE} + i" in cpp) == (layout == "nchw")
    assert ("for (c in 0..2) for (color in colors)" in kotlin) == (layout == "nchw")
    for text in (cpp, kotlin):
        assert ("mean" in text) == (dtype == "float32") and text.count("{") == text.count("}")
        assert text.count("(") == text.count(")") and '"session.x64quantprecision", "1"' in text
    assert f"allocateDirect(3 * {SIZE * SIZE} * {1 if dtype == 'uint8' else 4})" in kotlin


def test_docs_show_the_lines_of_the_default_input(checkout: Path) -> None:
    manifest = dataclasses.replace(described("uint8", "nchw", "grid"), image_size=32, classes=tuple("0123456789"))
    text = (checkout / "docs/deploy.md").read_text()
    for language, lines in onnx_lines("dwpw_asym.onnx", manifest).items():
        assert "\n".join([f"```{language}", *lines, "```"]) in text, language
