"""Fixtures of the command tests: an empty working folder, a small program in it, and the command itself."""

from pathlib import Path

import pytest
from brightest import Command, write_model
from small_networks import CLASSES, IMAGE_SIZE, model_config, quantized, scheme

from selectq.deploy import outcome
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.latency import measure
from selectq.latency.turns import Turns
from selectq.quantization.quantized import QuantizedCheckpoint


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def model(here: Path) -> Path:
    """A program that names the brightest channel, as a path relative to `here`."""
    return write_model(here / "brightest.onnx").relative_to(here)


@pytest.fixture
def selectq(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The `selectq` command."""
    return Command(monkeypatch, capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `selectq quantize`: the clock has tests of its own; the CPU is what others have."""
    monkeypatch.setattr(measure, "TURNS", Turns(2, 0.0, 0.0, 0.0))
    monkeypatch.setattr(outcome, "SECONDS", 0.001)
    monkeypatch.setenv("SELECTQ_DEVICE", "cpu")


@pytest.fixture(scope="session")
def network_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The briefly trained network as an ONNX program."""
    chosen = scheme()
    checkpoint = QuantizedCheckpoint("dwpw_asym", quantized(chosen), model_config(), CLASSES, chosen)
    path = tmp_path_factory.mktemp("programs") / "dwpw_asym.onnx"
    write_program(path, to_reference(checkpoint.network), describe_program(checkpoint, IMAGE_SIZE))
    return path
