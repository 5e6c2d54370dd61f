"""An ONNX program needs no torch, in none of the commands, and answers as the files of other formats do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from brightest import encoded, picture

SOURCE = str(Path(__file__).resolve().parents[2] / "src")

SCRIPT = """
import json, sys
from selectq.cli.main import main
loaded = {}
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["selectq", *arguments]
    main()
    sys.stdout.flush()
    loaded[arguments[0]] = sorted({"torch", "torchvision", "pandas", "sklearn"} & set(sys.modules))
print(json.dumps(loaded), file=sys.stderr)
"""

WITH_TORCH = "import torch\n" + SCRIPT


def modules_after(script: str, *commands: tuple[object, ...]) -> dict[str, list[str]]:
    """The heavy modules that are loaded when each of the commands is done, one after another in one process."""
    command = [sys.executable, "-c", script, json.dumps(commands, default=str)]
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stderr.splitlines()[-1])


@pytest.fixture
def images(here: Path) -> Path:
    for number, name in enumerate(("red", "green", "blue")):
        folder = here / "images" / name
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(encoded(picture(number)))
    return Path("images")


def test_onnx_needs_no_torch(network_program: Path, images: Path) -> None:
    commands = [("predict", network_program, images), ("evaluate", network_program, images)]
    commands += [("inspect", network_program), ("bench", network_program)]
    assert modules_after(SCRIPT, *commands) == {"predict": [], "evaluate": [], "inspect": [], "bench": []}


def test_packed_images_need_no_torch(model: Path) -> None:
    from safetensors.numpy import save_file  # noqa: PLC0415

    tensors = {"test.images": np.zeros((2, 3, 16, 16), np.uint8), "test.labels": np.array([0, 1])}
    save_file(tensors, "images.safetensors", {"selectq": json.dumps({"classes": ["red", "green"], "origin": {}})})
    assert modules_after(SCRIPT, ("evaluate", model, "images.safetensors")) == {"evaluate": []}


def test_help_of_quantize_needs_no_torch() -> None:
    script = "import sys; from selectq.cli.main import command_parser; command_parser(['quantize']); "
    command = [sys.executable, "-c", script + "print(sorted({'torch', 'pandas'} & set(sys.modules)))"]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


@pytest.mark.slow
def test_torch_would_be_noticed(model: Path) -> None:
    """Negative control."""
    assert "torch" in modules_after(WITH_TORCH, ("inspect", model))["inspect"]
