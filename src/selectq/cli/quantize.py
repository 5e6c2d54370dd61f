"""`selectq quantize`: a trained network to an INT8 program, with as little training as is enough, and its loss."""

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from selectq.command import Positive
from selectq.config.configs import ExportConfig, Goal
from selectq.config.formats import FORMATS
from selectq.errors import GOAL_MISSED, UserError
from selectq.files import require_writable
from selectq.programs.program import endings

RETRAINING: dict[str, Any] = {
    "max_loss": 0.5,
    "budgets": [2.0, 5.0, 10.0, 25.0, 46.51, 100.0],
    "epochs": 4,
    "train_images": 10_000,
    "validation_images": 5_000,
}
"""What goes with `--retrain`, and its default. 46.51 % is what the paper's depthwise and projection layers hold."""

RATES = [0.0001, 0.0003, 0.001]
"""Learning rates of Adam that every set of layers is tried with."""

OPTIONS = {
    "model.network": "--network",
    "model.arguments": "--arguments",
    "model.normalization.mean": "--mean",
    "model.normalization.std": "--std",
    "formats": "--out",
    "plan.max_loss_points": "--max-loss",
    "plan.budgets_pct": "--budgets",
}
"""The parameters' keys, as messages have them -> the options of this command."""


@contextmanager
def named_by_options() -> Iterator[None]:
    """Messages name the options of the command in place of the parameters' keys."""
    try:
        yield
    except UserError as error:
        message = str(error)
        key = next((key for key in OPTIONS if message.startswith((f"{key}:", f"{key}["))), None)
        raise UserError(OPTIONS[key] + message.removeprefix(key) if key else message) from None


def _argument(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width_mult=0.5")
    return name, yaml.safe_load(value)


def _three(text: str) -> tuple[float, ...]:
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not three numbers, such as 0.485,0.456,0.406") from None
    return red, green, blue


def _bits(text: str) -> tuple[int, int]:
    found = re.fullmatch("W([2-8])A([2-8])", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} names no widths, such as W4A8; allowed: 2 to 8")
    return int(found[1]), int(found[2])


Argument = Annotated[tuple[str, object], _argument]
Three = Annotated[tuple[float, ...], _three]


@named_by_options()
def run_quantize(
    weights: Path,
    images: Path,
    *,
    network: str,
    arguments: Sequence[Argument] = (),
    size: int | None = None,
    mean: Three = (0.485, 0.456, 0.406),
    std: Three = (0.229, 0.224, 0.225),
    out: Path | None = None,
    input_: Literal["uint8", "float32"] = "uint8",
    layout: Literal["nchw", "nhwc"] = "nchw",
    seed: int = 0,
    keep_relu6: bool = False,
    bits: Annotated[tuple[int, int], _bits] = (8, 8),
    skip_bad: bool = False,
    retrain: bool = False,
    max_loss: float | None = None,
    budgets: Sequence[float] | None = None,
    epochs: Positive | None = None,
    train_images: Positive | None = None,
    validation_images: Positive | None = None,
) -> None:
    """Quantize, write the program and its card, and print what was lost; exit status 3 where a goal is not reached.

    Args:
        weights (WEIGHTS): the state dict, alone or in a checkpoint
        images (IMAGES): a folder, zip or tar of <class>/<image>, or of train/, val/, test/ of such, or
            data/images.safetensors
        network (NAME): torchvision's, timm:NAME or FILE.py:FUNCTION
        arguments (NAME=VALUE): the network's own
        size (PX): height and width of the images (default 224)
        mean (R,G,B): of the normalization (default 0.485,0.456,0.406)
        std (R,G,B): of the normalization (default 0.229,0.224,0.225)
        out (FILE): ends in .onnx, .pt2 or .pte (default: WEIGHTS' name.int8.onnx, here)
        input_: of the program: pixels from 0 to 255 (uint8, default), or normalised as the network takes them
        layout: channels first (default), or last
        seed (N): of the division of the images (default 0)
        keep_relu6: do not try ReLU in place of ReLU6
        bits (W8A8): of weights and activations, 2 to 8 (default W8A8)
        skip_bad: leave out images that cannot be read, and name them
        retrain: retrain the fewest layers that are enough, and none where that will do
        max_loss (POINTS): with --retrain: of top-1 below FP32 (default 0.5)
        budgets (PCT): with --retrain: shares of the parameters to retrain, tried in turn (default 2 5 10 25 46.51 100)
        epochs (N): with --retrain: of a retraining (default 4)
        train_images (N): with --retrain: used at most (default 10000)
        validation_images (N): with --retrain: used at most, to compare candidates (default 5000)

    Raises:
        UserError: weights, network, images or a file to write that are not as they should be.
    """
    from selectq.cli.quantizing import Request, quantize  # noqa: PLC0415  # torch: seconds, that --help does without

    given = max_loss, budgets, epochs, train_images, validation_images
    largest, goal = _retraining(retrain, dict(zip(RETRAINING, given, strict=True)))
    request = Request(
        weights=weights,
        images=images,
        network=network,
        arguments=dict(arguments),
        size=size,
        mean=mean,
        std=std,
        out=_checked(out or Path(f"{weights.stem}.int8.onnx")),
        export=ExportConfig(input_, layout),
        seed=seed,
        keep_relu6=keep_relu6,
        bits=bits,
        skip_bad=skip_bad,
        largest=largest,
        goal=goal,
    )
    if not quantize(request):
        sys.exit(GOAL_MISSED)


def _retraining(asked: bool, given: Mapping[str, Any]) -> tuple[Mapping[str, int] | None, Goal | None]:
    """How many images are used at most, if that is other than usual, and the goal for which layers may be retrained.

    Raises:
        UserError: an option of `--retrain` without it, or out of its range.
    """
    if not asked:
        for name, value in given.items():
            if value is not None:
                raise UserError(f"--{name.replace('_', '-')}: goes with --retrain alone; add that")
        return None, None
    chosen = {name: default if given[name] is None else given[name] for name, default in RETRAINING.items()}
    asked_for = {
        "max_loss_points": chosen["max_loss"],
        "budgets_pct": chosen["budgets"],
        "cost": "parameters",
        "score": "parameters",
        "epochs": chosen["epochs"],
        "lrs": RATES,
    }
    largest = {"train": chosen["train_images"], "validation": chosen["validation_images"]}
    return largest, Goal.from_mapping(asked_for, "plan")


def _checked(out: Path) -> Path:
    if out.suffix[1:] not in FORMATS.names():
        raise UserError(f"--out: {out} has no ending that tells the format; allowed: {endings()}")
    require_writable("--out", out)
    return out
