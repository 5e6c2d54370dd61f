"""`selectq import-weights`: what it writes is what the parameters it prints then start from."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from brightest import Command
from small_checkout import write_checkout
from small_networks import CLASSES, coloured_noise
from tflite_files import random_levels, tflite_file

from selectq.config.load import overlay, read_yaml, validate
from selectq.data.packed import Dataset, write_dataset
from selectq.networks.build import build_network
from selectq.networks.weights import load_weights

DOWNLOAD = """
stages:
  download:
    cmd: mkdir -p data && cp {} data/images.safetensors
    outs: [data/images.safetensors]
"""


@pytest.fixture
def imagenet(here: Path, checkout: Path) -> Path:
    """A checkout with images, and the file beside it."""
    shutil.copy(checkout / "params.yaml", here)
    (here / "dvc.yaml").touch()
    (here / "profiles").mkdir()
    splits = [coloured_noise(12, seed) for seed in range(3)]
    write_dataset(here / "data/images.safetensors", Dataset(*splits, CLASSES, {}))
    (here / "imagenet.tflite").write_bytes(tflite_file(random_levels(empty=0)))
    return here


def test_printed_lines_start_a_training_from_the_file(imagenet: Path, selectq: Command) -> None:
    printed = yaml.safe_load(selectq("import-weights", "imagenet.tflite", "--out", "weights.safetensors").out)
    params = validate(overlay(read_yaml(imagenet / "params.yaml"), printed), "merged")
    model, fresh = (build_network(params.model, len(CLASSES)) for _ in range(2))
    load_weights(model, params.model, len(CLASSES), [])
    assert model.features[0][1].running_var.ne(1).any()
    assert model.classifier[1].weight.shape == fresh.classifier[1].weight.shape


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("imagenet.tflite", "weights.pth", "--out: weights.pth does not end in .safetensors"),
        ("absent.tflite", "weights.safetensors", "absent.tflite: No such file or directory"),
        ("params.yaml", "weights.safetensors", "params.yaml is not a TFLite file: it has"),
    ],
)
def test_refusals(imagenet: Path, selectq: Command, source: str, out: str, message: str) -> None:
    assert selectq.refusal("import-weights", source, "--out", out).startswith(message)
    assert not (imagenet / out).exists()


def test_images_come_first(imagenet: Path, selectq: Command) -> None:
    (imagenet / "data/images.safetensors").unlink()
    refusal = selectq.refusal("import-weights", "imagenet.tflite", "--out", "weights.safetensors")
    assert "data/images.safetensors" in refusal


def test_unknown_profiles_are_refused(imagenet: Path, selectq: Command) -> None:
    words = ("import-weights", "imagenet.tflite", "--out", "weights.safetensors", "--profile", "larger")
    assert selectq.refusal(*words).startswith("'larger' is no profile; allowed: ")


def test_profiles_images_and_geometry_are_taken(imagenet: Path, selectq: Command) -> None:
    write_dataset(
        imagenet / "others.safetensors", Dataset(*(coloured_noise(12, seed) for seed in (5, 6, 7)), CLASSES, {})
    )
    profile = {"model": {"strides_removed": 1}}
    write_checkout(
        imagenet,
        {
            "dvc.yaml": DOWNLOAD.format(imagenet / "others.safetensors"),
            "stages/none.py": "",
            "profiles/larger.yaml": yaml.safe_dump(profile),
        },
    )
    subprocess.run(["git", "init", "--quiet"], check=True)
    words = ("import-weights", "imagenet.tflite", "--out", "weights.safetensors")
    printed = selectq(*words, "--profile", "larger").out
    of_profile = yaml.safe_load(printed[printed.index("model:") :])

    shutil.copy(imagenet / "others.safetensors", imagenet / "data/images.safetensors")
    assert yaml.safe_load(selectq(*words).out) != of_profile
    params = overlay(read_yaml(imagenet / "params.yaml"), profile)
    (imagenet / "params.yaml").write_text(yaml.safe_dump(params))
    assert yaml.safe_load(selectq(*words).out) == of_profile
