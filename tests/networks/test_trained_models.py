"""Trained networks that lie in the SELECTQ_DATA folders show, as loaded, the accuracy that is written beside them."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_networks import committed_params, model_config

from selectq.data.evaluate import evaluate
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset, Split
from selectq.data.sources import load_dataset
from selectq.files import sha256
from selectq.networks.build import build_network, check_logits
from selectq.networks.weights import load_weights
from selectq.params.configs import NormalizationConfig

pytestmark = pytest.mark.slow

FOLDERS = [Path(folder) for folder in os.environ.get("SELECTQ_DATA", "").split(os.pathsep) if folder]
DESCRIBED = {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.pth.json"))}
"""Checkpoint -> the file that says what it is: network, arguments, pixels, normalization, accuracies."""

POINTS = 0.03
"""By how much an accuracy may be off: predictions that a last digit turns over, of 5,000 images one or two."""


@pytest.fixture(scope="module")
def images(data_folder: Path) -> Dataset:
    """CIFAR-10 enlarged to 64 pixels as the networks saw it, without the training images."""
    config = dataclasses.replace(committed_params().data, name="imagefolder", validation_images=5000)
    dataset = load_dataset(config, [data_folder])
    splits = {name: enlarged(getattr(dataset, name)) for name in ("validation", "test")}
    return dataclasses.replace(dataset, train=splits["validation"].part(slice(1)), **splits)


def enlarged(split: Split) -> Split:
    images = [F.interpolate(chunk.float(), size=64, mode="bilinear").round().byte() for chunk in split.chunks(500)]
    return Split(torch.cat(images), split.labels)


@pytest.mark.skipif(not DESCRIBED, reason="no folder of SELECTQ_DATA holds trained networks (*.pth with *.pth.json)")
@pytest.mark.parametrize("name", sorted(DESCRIBED) or ["none"])
def test_accuracy_as_loaded(name: str, images: Dataset) -> None:
    described: dict[str, Any] = json.loads(DESCRIBED[name].read_text())
    file = DESCRIBED[name].with_suffix("")
    normalization = NormalizationConfig(**{key: tuple(each) for key, each in described["normalization"].items()})
    config = dataclasses.replace(
        model_config("as_is", 0, described["network"], **described.get("arguments", {})),
        normalization=normalization,
        trained=str(file),
        trained_sha256=sha256(file),
    )
    model = build_network(config, len(images.classes))
    check_logits(model, config, described["pixels"], len(images.classes))
    load_weights(model, config, len(images.classes), [])
    model.eval().to(memory_format=torch.channels_last)
    dataset = images.normalised(Normalization.of(normalization))
    for split in ("validation", "test"):
        found = evaluate(model, getattr(dataset, split), split)["top1"]
        assert found == pytest.approx(described[f"{split}_top1"], abs=POINTS)
    wrong = evaluate(model, images.test, "test, another normalization")["top1"]
    assert wrong < described["test_top1"] - POINTS
