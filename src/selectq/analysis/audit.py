"""What each flaw costs: accuracy of the float network and of the quantized ones, and the drift of the last block."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.analysis.drift import Reference, RelativeError
from selectq.analysis.flaws import FLAWS
from selectq.analysis.setup import Setup, sound_setup
from selectq.analysis.simulations import Forward, Granularity
from selectq.config.configs import AuditConfig
from selectq.data.augment import EVALUATION_BATCH
from selectq.data.evaluate import top1
from selectq.data.packed import Dataset, Split
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.progress import progress
from selectq.quantization.scopes import check_flaws

Trial = Mapping[str, Any]
"""Flaw -> setting; empty for the sound setup."""

GRANULARITIES: tuple[Granularity, ...] = ("tensor", "channel")
NONE = "none"
"""The flaw's name where there is none."""


def list_trials(config: AuditConfig) -> list[Trial]:
    """The sound setup, every flaw alone in each of its settings, then the combinations."""
    alone = [
        {field.name: setting}
        for field in dataclasses.fields(config.flaws)
        for setting in getattr(config.flaws, field.name)
    ]
    return [{}, *alone, *config.combined]


def audit(model: nn.Module, dataset: Dataset, config: AuditConfig, seed: int) -> pd.DataFrame:
    """Try every flaw.

    Args:
        model: the FP32 network in evaluation mode, on the data set's device. It is left as it is.
        dataset: of whose test images `config.images` are used.
        config: which flaws, in which settings.
        seed: of the calibration images and of whatever a flaw draws.

    Returns:
        A row for each trial and granularity: flaw and setting (of several, joined by ` + `), granularity, images,
        classes, float_top1 and int8_top1 (simulated) in percent, and drift_last: the relative error of the head's
        output, against the sound float network on soundly prepared images.

    Raises:
        UserError: more images are asked for than there are, or a flaw that the network cannot have.
    """
    test = spread_and_mixed(dataset.test, config.images, seed)
    graph = capture(model)
    check_flaws(model, graph, config)
    sound = sound_setup(model, graph, dataset.train, config, seed)
    heads = _heads(sound, test)
    trials = list_trials(config)
    rows = [
        (*_label(trial), granularity, len(test), len(dataset.classes), *found)
        for trial in progress(trials, len(trials), "audit")
        for granularity, *found in _try(
            flawed(sound_setup(model, graph, dataset.train, config, seed), trial), test, heads
        )
    ]
    columns = ["flaw", "setting", "granularity", "images", "classes", "float_top1", "int8_top1", "drift_last"]
    return pd.DataFrame(rows, columns=columns)


def spread_and_mixed(split: Split, count: int, seed: int) -> Split:
    """`count` images evenly spread over a split, which lies in the order of its labels, in random order.

    Raises:
        UserError: there are fewer.
    """
    if count > len(split):
        raise UserError(f"audit.images: {count} images are asked for; allowed: up to {len(split)}, the test images")
    spread = torch.arange(count) * len(split) // count
    chosen = spread[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    return dataclasses.replace(split, images=split.pixels(chosen), labels=split.labels[chosen.to(split.device)])


def flawed(setup: Setup, trial: Trial) -> Setup:
    """The setup with the trial's flaws, applied in the order of `FLAWS`."""
    for name, flaw in FLAWS.items():
        if name in trial:
            setup = flaw(setup, trial[name])
    return setup


def _label(trial: Trial) -> tuple[str, str]:
    names = [name for name in FLAWS if name in trial]
    return " + ".join(names) or NONE, " + ".join(str(trial[name]) for name in names)


@torch.no_grad()
def _heads(sound: Setup, test: Split) -> list[Tensor]:
    """The sound float network's head output for every batch; memory grows with the images."""
    forward = sound.simulation().floating()
    return [forward(sound.inference_pixels(chunk))[0] for chunk in test.chunks(EVALUATION_BATCH)]


def _try(setup: Setup, test: Split, heads: list[Tensor]) -> Iterator[tuple[Granularity, float, float, float]]:
    backend = setup.simulation()
    float_top1, _ = _measure(backend.floating(), setup, test, heads)
    for granularity in GRANULARITIES:
        yield granularity, float_top1, *_measure(backend.quantized(granularity), setup, test, heads)


@torch.no_grad()
def _measure(forward: Forward, setup: Setup, test: Split, heads: list[Tensor]) -> tuple[float, float]:
    """Top-1 in percent, and the head's drift."""
    drift, logits = RelativeError(), []
    for chunk, sound_head in zip(test.chunks(EVALUATION_BATCH), heads, strict=True):
        head, scores = forward(setup.inference_pixels(chunk))
        drift.add(Reference(sound_head), head)
        logits.append(scores.cpu())
    return top1(torch.cat(logits), test.labels.cpu()), drift.value()
