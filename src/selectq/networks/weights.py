"""Starting weights for the FP32 network, checked by hash before they are read."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights

from selectq.data.fetch import Checksum, fetch, file_name
from selectq.errors import UserError
from selectq.networks.own_files import own_file
from selectq.params.configs import ModelConfig


def load_weights(model: nn.Module, config: ModelConfig, folders: Sequence[Path]) -> None:
    """Fill `model` with the weights of the parameters; `none` keeps its random initialisation.

    A classifier for another number of classes stays freshly initialised.

    Args:
        model: on the CPU.
        config: `weights` is `none`, `IMAGENET1K_V1` (torchvision's), or a checkpoint's path or file name.
        folders: looked in for the file, before the network.

    Raises:
        UserError: no such file, no hash or another, another network's weights, or not all of them finite and floating.
    """
    if config.weights == "none":
        return
    if config.weights == "IMAGENET1K_V1":
        path = _pretrained(folders)
    else:
        path = own_file("model.weights", config.weights, config.weights_sha256, folders)
    state = _read(path)
    for name, tensor in state.items():
        _check(path, name, tensor)
    own = model.state_dict()
    for name in ("classifier.1.weight", "classifier.1.bias"):
        if name in state and state[name].shape != own[name].shape:
            state[name] = own[name]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"model.weights: {path} does not fit {config.title} ({reason})") from None


def _pretrained(folders: Sequence[Path]) -> Path:
    """torchvision's file, whose name ends in the first hex digits of its sha256."""
    url = MobileNet_V2_Weights.IMAGENET1K_V1.url
    name = file_name(url)
    return fetch(name, folders, [url], Checksum("sha256", name.rpartition("-")[2].removesuffix(".pth")))


def _check(path: Path, name: str, tensor: object) -> None:
    """Refuse what training or quantization would stumble over long after."""
    if not isinstance(tensor, Tensor):
        raise UserError(f"model.weights: {path}: {name} is no tensor")
    if name.endswith("num_batches_tracked"):
        return
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(f"model.weights: {path}: {name} is {kind}; allowed: floating point")
    if not tensor.float().isfinite().all():
        raise UserError(f"model.weights: {path}: {name} holds nan, infinity or more than float32 can")
    if name.endswith("running_var") and (tensor < 0).any():
        raise UserError(f"model.weights: {path}: {name} holds a negative variance")


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from a .pth whose hash was checked (tensors only: no code is run)."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # on what the file was written with
            return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UnpicklingError:  # torch's message proposes to run the code
        raise UserError(f"model.weights: {path} is not a readable checkpoint (of tensors and nothing else)") from None
    except Exception as error:  # both readers raise many types on damaged files
        raise UserError(f"model.weights: {path} is not a readable checkpoint ({str(error).splitlines()[0]})") from None
