"""Weights of the FP32 network from a file: checked by hash before it is read, and held to the network before use."""

import dataclasses
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from selectq.config.configs import ModelConfig
from selectq.data.fetch import Checksum, fetch, file_name
from selectq.errors import UserError, first_line
from selectq.networks.build import build_network
from selectq.networks.checkpoint import load_tensors
from selectq.networks.own_files import own_file

NESTED = ("state_dict", "model", "model_state_dict", "ema")
"""Where a training loop's checkpoint has its state dict; the first that is there is taken."""

PREFIXES = ("module.", "_orig_mod.", "ema.", "model.")
"""What wrappers put before every name: data parallelism, torch.compile, an averaged model, a training class."""

COUNTERS = "num_batches_tracked"
SHOWN = 3
"""Differences that are named, of those that a file and the network have."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """A file of weights, and the parameter that names it: both stand in messages.

    `other_classes` is what to do where the file's classes are others than the images'.
    """

    key: str
    path: Path
    other_classes: str = "model.new_classifier: true, which trains a new one"

    def refusal(self, reason: str) -> UserError:
        """The error that the file ends with."""
        return UserError(f"{self.key}: {self.path} {reason}")


def load_weights(model: nn.Module, config: ModelConfig, classes: int, folders: Sequence[Path]) -> None:
    """Fill `model` with the weights that the parameters name, if they name any; what is unwrapped is printed.

    The file is looked for in `folders` before the network. With `new_classifier` the classifier stays as it is.

    Raises:
        UserError: no such file, no hash or another, no state dict, another network's, or not all of it finite and
            floating.
    """
    origin = _origin(config, folders)
    if origin is not None:
        fill_network(model, origin, config, classes)


def fill_network(model: nn.Module, origin: Origin, config: ModelConfig, classes: int) -> None:
    """Fill `model` with the weights of a file that is to be trusted; see `load_weights`."""
    own = model.state_dict()
    state = dict(unwrapped(_read(origin), own, origin))
    state |= {name: own[name] for name in own if name.endswith(COUNTERS) and name not in state}  # older files lack them
    of_classes = _of_classes(own, config, classes)
    if config.new_classifier:
        state |= {name: own[name] for name in of_classes}
    for name, tensor in state.items():
        _check(origin, name, tensor, own.get(name))
    differences = dict(_differences(state, own))
    if differences and differences.keys() <= set(of_classes):
        _require_classes(origin, state, own, of_classes)
    if differences:
        more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise origin.refusal(f"is not a {config.title}: {'; '.join([*differences.values()][:SHOWN])}{more}")
    load_tensors(model, state)


def _origin(config: ModelConfig, folders: Sequence[Path]) -> Origin | None:
    if config.trained is not None:
        return Origin("model.trained", own_file("model.trained", config.trained, config.trained_sha256, folders))
    if config.weights == "none":
        return None
    published = _published(config.network)
    if config.weights in published:
        return Origin("model.weights", _download(published[config.weights], folders))
    return Origin("model.weights", own_file("model.weights", config.weights, config.weights_sha256, folders))


def _published(network: str) -> dict[str, str]:
    """The names of torchvision's weights for a network, and their addresses; none for networks that are not its."""
    if network not in torchvision.models.list_models(module=torchvision.models):
        return {}
    return {entry.name: entry.url for entry in torchvision.models.get_model_weights(network)}


def _download(url: str, folders: Sequence[Path]) -> Path:
    """torchvision's file, whose name ends in the first hex digits of its sha256."""
    name = file_name(url)
    return fetch(name, folders, [url], Checksum("sha256", name.rpartition("-")[2].removesuffix(".pth")))


def _read(origin: Origin) -> Any:
    """What a safetensors file holds, or a .pth whose hash was checked (tensors and plain values: no code is run)."""
    allowed = "allowed: what torch.save(model.state_dict(), FILE) writes"
    try:
        if origin.path.suffix == ".safetensors":
            return load_file(origin.path)
        with warnings.catch_warnings(action="ignore"):  # on what the file was written with
            return torch.load(origin.path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many types on damaged files
        reason = first_line(error)
        if "TorchScript" in str(error):
            raise origin.refusal(f"is TorchScript; {allowed}") from None
        if found := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise origin.refusal(f"is not a readable checkpoint: it needs the code of {found[1]}; {allowed}") from None
        if isinstance(error, UnpicklingError):  # torch's message proposes to run the code
            reason = "more than tensors and plain values"
        raise origin.refusal(f"is not a readable checkpoint ({reason}); {allowed}") from None


def unwrapped(content: Any, own: Collection[str], origin: Origin) -> dict[str, Any]:
    """The state dict in what a training loop saved; each thing around it that is taken off is printed.

    Nothing is taken off any more as soon as one of the network's names, `own`, is there.

    Raises:
        UserError: it is no mapping of names.
    """
    if not isinstance(content, Mapping):
        raise origin.refusal(
            f"holds a {type(content).__name__}; allowed: a state dict, alone or under {_listed(NESTED)}"
        )
    state = {str(name): value for name, value in content.items()}
    if any(name in state for name in own):
        return state
    for key in NESTED:
        if isinstance(state.get(key), Mapping):
            print(f"{origin.path}: the state dict is what stands under `{key}`")
            return unwrapped(state[key], own, origin)
    state.pop("n_averaged", None)  # torch's AveragedModel counts in it
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            print(f"{origin.path}: `{prefix}` is taken off every name")
            return unwrapped({name.removeprefix(prefix): value for name, value in state.items()}, own, origin)
    return state


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _check(origin: Origin, name: str, tensor: object, own: Tensor | None) -> None:
    """Refuse what training or quantization would stumble over long after."""
    if not isinstance(tensor, Tensor):
        raise origin.refusal(f"holds {name}, which is no tensor")
    if own is None or not own.is_floating_point():
        return
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise origin.refusal(f"holds {name} as {kind}; allowed: floating point")
    if not tensor.float().isfinite().all():
        raise origin.refusal(f"holds nan, infinity or more than float32 can in {name}")
    if name.endswith("running_var") and (tensor < 0).any():
        raise origin.refusal(f"holds a negative variance in {name}")


def _of_classes(own: Mapping[str, Tensor], config: ModelConfig, classes: int) -> list[str]:
    """The tensors whose shape the number of classes decides: those of the classifier."""
    with torch.random.fork_rng(devices=[]):
        other = build_network(dataclasses.replace(config, strides_removed=0), classes + 1).state_dict()
    return [name for name, tensor in own.items() if tensor.shape != other[name].shape]


def _require_classes(
    origin: Origin, state: Mapping[str, Tensor], own: Mapping[str, Tensor], of_classes: Sequence[str]
) -> None:
    for name in of_classes:
        if name in state and state[name].shape[1:] == own[name].shape[1:] and state[name].shape != own[name].shape:
            raise origin.refusal(
                f"tells {len(state[name])} classes apart, the images have {len(own[name])}; allowed:"
                f" {origin.other_classes}"
            )


def _differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """The names of tensors that are not the network's, and what is wrong with each."""
    for name, tensor in own.items():
        if name not in state:
            yield name, f"{name} is missing"
        elif state[name].shape != tensor.shape:
            yield name, f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
    yield from ((name, f"{name} is unknown") for name in state if name not in own)
