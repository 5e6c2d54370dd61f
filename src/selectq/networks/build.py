"""FP32 networks by name: torchvision's, timm's, or a function of the user's own."""

import copy
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from selectq.config.configs import ModelConfig
from selectq.data.fetch import data_folders
from selectq.errors import UserError, first_line, with_closest
from selectq.networks.own_files import own_file
from selectq.networks.strides import remove_strides

TIMM = "timm:"


def build_network(config: ModelConfig, classes: int) -> nn.Module:
    """A freshly initialised network: float (N, 3, H, W) -> logits (N, classes).

    Raises:
        UserError: no such network, arguments that it does not take, or fewer strides than are to be removed.
    """
    name = config.network
    if name.startswith(TIMM):
        network = _of_timm(name.removeprefix(TIMM), config.arguments, classes)
    elif ".py:" in name:
        network = _of_the_user(config, classes)
    else:
        network = _of_torchvision(name, config.arguments, classes)
    remove_strides(network, config.strides_removed)
    if config.activation == "relu":
        replace_relu6(network)
    return network


def check_logits(network: nn.Module, config: ModelConfig, size: int, classes: int) -> None:
    """See that a network on the CPU takes images of `size` pixels to logits, before hours go into it.

    Raises:
        UserError: it fails on them, or puts out something else.
    """
    tried = copy.deepcopy(network)
    for training, when in ((False, ""), (True, " while training")):
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                logits = tried.train(training)(torch.zeros(2, 3, size, size))
        except Exception as error:  # whatever a network raises
            reason = f"takes no images of {size} pixels ({first_line(error)})"
            raise UserError(f"model.network: {config.title} {reason}") from None
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != (2, classes):
            allowed = f"logits of {classes} classes for each image"
            raise UserError(f"model.network: {config.title} puts out {found}{when}; allowed: {allowed}")


def _of_torchvision(name: str, arguments: dict[str, Any], classes: int) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(f"model.network: torchvision has no {name!r}{with_closest(name, known)}")
    with _refused_arguments(name, arguments):
        network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)
    return network


def _of_timm(name: str, arguments: dict[str, Any], classes: int) -> nn.Module:
    try:
        import timm  # noqa: PLC0415  # an optional extra
    except ImportError:
        raise UserError(f"model.network: {TIMM}{name} needs the package timm; install selectq[timm]") from None
    if not timm.is_model(name):
        raise UserError(f"model.network: timm has no {name!r}{with_closest(name, timm.list_models(), TIMM)}")
    with _refused_arguments(f"{TIMM}{name}", arguments):
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **arguments)
    return network


@contextmanager
def _refused_arguments(name: str, arguments: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UserError(f"model.arguments: {arguments} do not suit {name} ({first_line(error)})") from None


def _of_the_user(config: ModelConfig, classes: int) -> nn.Module:
    """The function runs as code: its file is held to the hash in the parameters."""
    name, _, function = config.network.rpartition(":")
    path = own_file("model.network", name, config.network_sha256, data_folders())
    try:
        made = getattr(_imported(path), function, None)
        if made is None:
            raise UserError(f"model.network: {path} has no function {function}")
        network = made(num_classes=classes, **config.arguments)
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise UserError(f"model.network: {path}: {reason} (line {place.lineno} of {place.filename})") from None
    if not isinstance(network, nn.Module):
        raise UserError(f"model.network: {config.network} made a {type(network).__name__}; allowed: a torch.nn.Module")
    return network


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"selectq_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def replace_relu6(module: nn.Module) -> None:
    """Put a ReLU in the place of every ReLU6 below a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU6):
            setattr(module, name, nn.ReLU(inplace=True))
        else:
            replace_relu6(child)
