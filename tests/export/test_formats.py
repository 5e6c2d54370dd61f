"""What holds for every format: bytes, description, batch, size, and the same answers."""

import functools
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from math import prod
from pathlib import Path

import numpy as np
import pytest
from exported_networks import BESIDE_WEIGHTS, SIZE, exported, images, program_of
from small_networks import CLASSES, IMAGE_SIZE, checkpoint, scheme

from selectq.config.formats import FORMATS
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.programs import format
from selectq.programs.format import Program
from selectq.programs.program import find, open_program
from selectq.quantization.scale_assignment import ScaleAssignment

ANY = scheme(8, "channel", 8, symmetric=False)
slow = pytest.mark.slow
ENDINGS = [".onnx", pytest.param(".pt2", id="pt2"), pytest.param(".pte", marks=slow, id="pte")]


@functools.cache
def opened(ending: str) -> Program:
    """What is opened once for all tests: torch takes seconds."""
    return open_program(exported("plain").path(ending))


@pytest.mark.parametrize("ending", ENDINGS)
def test_description_is_complete(ending: str) -> None:
    program, manifest = exported("plain"), opened(ending).manifest
    assert manifest.for_runtime("") == program.manifest
    assert any(character.isdigit() for character in manifest.runtime), "which version loads it"
    assert (manifest.classes, manifest.image_size, len(manifest.layers)) == (CLASSES, SIZE, 5)
    places = {place.name: place.activation for place in program.reference.network.sites()}
    for layer in manifest.layers[:-1]:
        stored = places[layer.name]
        assert (layer.output_scale, layer.output_zero_point) == (stored.scale, stored.zero_point)
        assert layer.weight_scales == layer.weight_shape[0], "one per output channel"
    assert manifest.layers[-1].output_scale is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_logits_are_those_of_the_reference_for_any_batch(ending: str) -> None:
    pixels = images(100)
    expected = exported("plain").reference(pixels).numpy()
    for batch in (1, 3, 100):
        found = opened(ending).logits(pixels[:batch].numpy())
        assert found.dtype == np.float32
        assert np.allclose(found, expected[:batch], rtol=0, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.01, "the logits differ by more than what is tolerated"


def test_format_whose_runtime_is_not_installed_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nothing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(format, "version", nothing)
    made = exported("plain")
    said = r"^formats: pte needs ExecuTorch; install selectq\[executorch\], or leave pte out$"
    with pytest.raises(UserError, match=said):
        write_program(tmp_path / "some.pte", made.reference, made.manifest)


@slow
def test_pte_refuses_more_images_than_it_has_memory_for() -> None:
    program = opened(".pte")
    largest = find("pte").largest_batch
    assert largest is not None
    many = np.zeros((largest + 1, 3, SIZE, SIZE), np.uint8)
    assert len(program.logits(many[:largest])) == largest
    with pytest.raises(RuntimeError):
        program.logits(many)


def test_pte_is_refused_where_xnnpack_could_not_load_it(tmp_path: Path) -> None:
    """A layer's output is so small that a step of its accumulator is worth thousands of its own."""
    made = checkpoint(ANY)
    (place,) = (place for place in made.network.sites() if place.name == "features.8.conv.0.0")
    place.activation.high.fill_(1e-9)
    ScaleAssignment(made.network).assign()
    with pytest.raises(UserError, match=r"pte: features\.8\.conv\.0\.0 puts out too small values .* below 256"):
        write_program(tmp_path / "some.pte", to_reference(made.network), describe_program(made, IMAGE_SIZE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_file_is_small(ending: str) -> None:
    program = program_of(ANY)
    weights = sum(prod(layer.weight_shape) for layer in program.manifest.layers)
    assert program.path(ending).stat().st_size <= weights + BESIDE_WEIGHTS


def test_pt2_does_not_say_where_it_was_made() -> None:
    path = program_of(ANY).path(".pt2")
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(
        text in content for text in (b"site-packages", b"/tmp", b".py\\", str(Path(__file__).parents[2]).encode())
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_byte_is_accounted_for(ending: str) -> None:
    program = exported("plain") if ending == ".pte" else program_of(ANY)
    counts, layers = find(ending[1:]).byte_counts(program.path(ending)), program.manifest.layers
    weights, classifier = sum(prod(layer.weight_shape) for layer in layers), prod(layers[-1].weight_shape)
    assert sum(counts.values()) == program.path(ending).stat().st_size and min(counts.values()) > 0
    if ending == ".onnx":
        assert counts["weights"] == weights + 16 * 9, "a fourth channel for the stem"
        assert counts["biases"] == 4 * sum(layer.weight_shape[0] for layer in layers)
    elif ending == ".pt2":
        assert 0.5 * weights < counts["weights"] < weights, "compressed"
    else:
        assert counts["weights"] == weights + 3 * classifier, "int8, but for the classifier"


WRITE = """
import sys
from exported_networks import exported
for ending in sys.argv[1:]:
    print(exported("plain").path(ending).read_bytes().hex())
"""


@slow
def test_another_process_writes_the_same_bytes(checkout: Path) -> None:
    path = f"import sys; sys.path[:0] = [{str(checkout / 'src')!r}, {str(checkout / 'tests')!r}]"
    command = [sys.executable, "-W", "ignore", "-c", f"{path}\n{WRITE}", *(f".{ending}" for ending in FORMATS.own)]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for ending, content in zip(FORMATS.own, written, strict=True):
        assert bytes.fromhex(content) == exported("plain").path(f".{ending}").read_bytes(), ending
