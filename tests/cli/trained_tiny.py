"""A tiny trained network in a user's own file, its checkpoint, and pictures that it tells apart."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from brightest import CLASSES, encoded, picture
from torch import Tensor, nn

LABELS = tuple(sorted(CLASSES))
"""As ImageFolder numbers the folders."""

SOURCE = """
from torch import nn


def tiny(num_classes, relu6=True, hard_swish=False):
    act = nn.Hardswish if hard_swish else nn.ReLU6 if relu6 else nn.ReLU
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), act(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), act(),
        nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), act(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )


def tanh(num_classes):
    layers = [nn.Conv2d(3, 8, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)]
    return nn.Sequential(*layers)
"""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(count: int, first: int = 0) -> dict[str, bytes]:
    """PNG files of so many pictures of each class, by the class's folder and a number."""
    return {
        f"{name}/{number}.png": encoded(picture(channel, 100 * channel + number))
        for channel, name in enumerate(CLASSES)
        for number in range(first, first + count)
    }


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def build(**arguments: bool) -> nn.Module:
    made: dict[str, Callable[..., nn.Module]] = {}
    exec(SOURCE, made)
    return made["tiny"](len(LABELS), **arguments)


@functools.cache
def state_dict(**arguments: bool) -> dict[str, Tensor]:
    """Of the network, trained for a moment on pictures that no test shows."""
    torch.manual_seed(0)
    model = build(**arguments)
    chosen = [(channel, picture(channel, 10_000 + number)) for number in range(30) for channel in range(3)]
    images = normalised(torch.from_numpy(np.stack([np.asarray(each).transpose(2, 0, 1) for _, each in chosen])).float())
    labels = torch.tensor([LABELS.index(CLASSES[channel]) for channel, _ in chosen])
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.state_dict()


def write_all(folder: Path, **arguments: bool) -> None:
    """`tiny.py`, `tiny.pth` as a training loop saves it, and the folder `images` of 60 pictures."""
    (folder / "tiny.py").write_text(SOURCE)
    state = {f"module.{name}": tensor for name, tensor in state_dict(**arguments).items()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "tiny.pth")
    write_images(folder / "images", pictures(20))


def write_images(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
