"""Real images and trained networks, where SELECTQ_DATA has them: what the archive holds, and what networks show on it.

The archive is read once for all tests: decoding it takes half a minute.
"""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from brightest import Command
from small_networks import model_config
from torch import nn

from selectq.config.configs import NormalizationConfig
from selectq.config.load import validate
from selectq.data.evaluate import evaluate
from selectq.data.labelled import image_digest
from selectq.data.normalization import Normalization
from selectq.data.packed import SPLITS, Dataset, Split, write_dataset
from selectq.data.sources import load_dataset
from selectq.files import sha256
from selectq.networks.build import build_network, check_logits
from selectq.networks.weights import load_weights
from selectq.study import Study, study_parameters

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("algorithms_put_back", "quick")]

FOLDERS = [Path(folder) for folder in os.environ.get("SELECTQ_DATA", "").split(os.pathsep) if folder]
DESCRIBED = {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.pth.json"))}
"""Checkpoint -> the file that says what it is: network, arguments, pixels, normalization, accuracies."""

POINTS = 0.03
"""By how much an accuracy may be off: predictions that a last digit turns over, of 5,000 images one or two."""

LOTS = {"train": 512, "validation": 1000, "test": 2000}
"""So many images are given to `selectq quantize`."""


@pytest.fixture(scope="module")
def dataset(checkout: Path, data_folder: Path) -> Dataset:
    """CIFAR-10 under the committed parameters of its study."""
    config = validate(study_parameters(Study(checkout, "cifar10")), "cifar10").data
    if not (data_folder / config.imagefolder.source).exists():
        pytest.skip(f"no {config.imagefolder.source} in SELECTQ_DATA: no real images here")
    return load_dataset(config, [data_folder])


def test_the_committed_parameters_on_the_real_archive(dataset: Dataset) -> None:
    for name, count in zip(SPLITS, (4500, 500, 1000), strict=True):
        split = getattr(dataset, name)
        assert split.images.shape == (10 * count, 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert torch.bincount(split.labels).tolist() == [count] * 10
    assert dataset.classes[0] == "airplane"
    validation, train = (
        {image_digest(image) for image in each.images.numpy()} for each in (dataset.validation, dataset.train)
    )
    assert validation.isdisjoint(train)


@pytest.fixture(scope="module")
def large(dataset: Dataset) -> Dataset:
    """The images enlarged to 64 pixels as the networks saw them; of the training images, a few."""

    def enlarged(split: Split) -> Split:
        images = [F.interpolate(chunk.float(), size=64, mode="bilinear").round().byte() for chunk in split.chunks(500)]
        return Split(torch.cat(images), split.labels)

    splits = {"train": dataset.train.sample(LOTS["train"], 0), "validation": dataset.validation, "test": dataset.test}
    return dataclasses.replace(dataset, **{name: enlarged(split) for name, split in splits.items()})


def loaded(described: dict[str, Any], file: Path, classes: int) -> nn.Module:
    config = dataclasses.replace(
        model_config("as_is", 0, described["network"]),
        arguments=described.get("arguments", {}),
        normalization=normalization(described),
        trained=str(file),
        trained_sha256=sha256(file),
    )
    model = build_network(config, classes)
    check_logits(model, config, described["pixels"], classes)
    load_weights(model, config, classes, [])
    return model.eval().to(memory_format=torch.channels_last)


def normalization(described: dict[str, Any]) -> NormalizationConfig:
    return NormalizationConfig(**{key: tuple(each) for key, each in described["normalization"].items()})


@pytest.mark.skipif(not DESCRIBED, reason="no folder of SELECTQ_DATA holds trained networks (*.pth with *.pth.json)")
@pytest.mark.parametrize("name", sorted(DESCRIBED) or ["none"])
def test_trained_network_shows_the_accuracy_that_is_known_and_keeps_it(
    name: str, large: Dataset, here: Path, selectq: Command
) -> None:
    described: dict[str, Any] = json.loads(DESCRIBED[name].read_text())
    file = DESCRIBED[name].with_suffix("")
    model = loaded(described, file, len(large.classes))
    seen = large.normalised(Normalization.of(normalization(described)))
    for split in ("validation", "test"):
        found = evaluate(model, getattr(seen, split), split)["top1"]
        assert found == pytest.approx(described[f"{split}_top1"], abs=POINTS)
    wrong = evaluate(model, large.validation, "validation, another normalization")["top1"]
    assert wrong < described["validation_top1"] - POINTS

    few = {lot: getattr(large, lot).sample(count, 0) for lot, count in LOTS.items()}
    write_dataset(here / "images.safetensors", dataclasses.replace(large, **few))
    options = [f"--{key}={','.join(map(str, values))}" for key, values in described["normalization"].items()]
    arguments = [f"{key}={value}" for key, value in described.get("arguments", {}).items()]
    network = ["--network", described["network"], *(["--arguments", *arguments] if arguments else [])]
    ended = selectq("quantize", file, here / "images.safetensors", *network, *options)
    assert ended.status == 0, ended.err
    shown = re.search(r"^top-1 of 2,000 images +([\d.]+) % +([\d.]+) %$", ended.out, re.MULTILINE)
    assert shown is not None
    expected = evaluate(model, seen.test.sample(LOTS["test"], 0), "test, a part")["top1"]
    assert float(shown[1]) == pytest.approx(expected, abs=0.06), "as loaded, but for one image"
    assert float(shown[2]) == pytest.approx(expected, abs=1.0)
    assert "differ between simulation and program: 0 of 2,000" in ended.out
