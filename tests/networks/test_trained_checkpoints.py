"""Trained networks in the shapes in which users save them: each is read or refused in one line."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_networks import model_config, same_tensors
from torch import nn

from selectq.config.configs import ModelConfig
from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.networks.weights import load_weights

NAME = "squeezenet1_1"  # with no batch norms and a classifier that is a convolution
State = dict[str, torch.Tensor]


def network(name: str = NAME, classes: int = 10, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(config_of(name), classes)


def config_of(name: str = NAME, **changes: Any) -> ModelConfig:
    return dataclasses.replace(model_config("as_is", strides_removed=0, network=name), **changes)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def loaded(
    content: Any, folder: Path, name: str = NAME, save: Callable[..., None] = torch.save, **changes: Any
) -> nn.Module:
    """A network with other weights, after what was saved has been loaded into it."""
    path = folder / ("trained.safetensors" if save is save_file else "trained.pth")
    save(content, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = network(name, seed=1)
    load_weights(model, config_of(name, trained=str(path), trained_sha256=digest, **changes), 10, [])
    return model


ACCEPTED: dict[str, tuple[Callable[[State], Any], list[str]]] = {
    "plain": (lambda state: state, []),
    "state_dict": (
        lambda state: {"epoch": 3, "state_dict": state},
        ["the state dict is what stands under `state_dict`"],
    ),
    "model": (lambda state: {"model": state, "optimizer": {}}, ["the state dict is what stands under `model`"]),
    "model_state_dict": (
        lambda state: {"model_state_dict": state},
        ["the state dict is what stands under `model_state_dict`"],
    ),
    "ema": (lambda state: {"ema": state}, ["the state dict is what stands under `ema`"]),
    "module.": (lambda state: prefixed(state, "module."), ["`module.` is taken off every name"]),
    "_orig_mod.": (lambda state: prefixed(state, "_orig_mod."), ["`_orig_mod.` is taken off every name"]),
    "ema.": (lambda state: prefixed(state, "ema."), ["`ema.` is taken off every name"]),
    "averaged": (
        lambda state: {"ema": {"n_averaged": torch.tensor(4), **prefixed(state, "module.")}},
        ["the state dict is what stands under `ema`", "`module.` is taken off every name"],
    ),
    "trainer": (
        lambda state: {"epoch": 3, "state_dict": prefixed(state, "model._orig_mod.")},
        [
            "the state dict is what stands under `state_dict`",
            "`model.` is taken off every name",
            "`_orig_mod.` is taken off every name",
        ],
    ),
}


@pytest.mark.parametrize("shape", ACCEPTED)
def test_shape_is_read_and_each_unwrapping_told(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrap, told = ACCEPTED[shape]
    assert same_tensors(loaded(wrap(network().state_dict()), tmp_path), network())
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'trained.pth'}: {line}" for line in told]


def test_safetensors_are_read(tmp_path: Path) -> None:
    state = {name: value.contiguous() for name, value in network().state_dict().items()}
    assert same_tensors(loaded(state, tmp_path, save=save_file), network())


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in network().state_dict().items()}
    found = loaded(state, tmp_path).state_dict()
    assert all(
        value.dtype == torch.float32 and torch.equal(value, state[name].float()) for name, value in found.items()
    )


def test_counters_that_older_files_lack_are_made_up(tmp_path: Path) -> None:
    state = network("resnet18").state_dict()
    older = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert same_tensors(loaded(older, tmp_path, "resnet18"), network("resnet18"))


def test_network_with_a_part_called_model_keeps_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from torch import nn\ndef make(num_classes):\n    return nn.ModuleDict({'model': nn.Linear(3, num_classes)})\n"
    )
    config = config_of("own.py:make", network_sha256=hashlib.sha256(Path("own.py").read_bytes()).hexdigest())
    state = build_network(config, 10).state_dict()
    torch.save(state, "own.pth")
    digest = hashlib.sha256(Path("own.pth").read_bytes()).hexdigest()
    model = build_network(config, 10)
    load_weights(model, dataclasses.replace(config, trained="own.pth", trained_sha256=digest), 10, [])
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def refusal(content: Any, folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        loaded(content, folder, **options)
    message = str(refused.value)
    assert "\n" not in message and len(message.replace(str(folder), "")) < 300
    return message.replace(f"{folder}/", "")


def test_pickled_network_is_refused(tmp_path: Path) -> None:
    assert refusal(network(), tmp_path) == (
        "model.trained: trained.pth is not a readable checkpoint: it needs the code of"
        " torchvision.models.squeezenet.SqueezeNet; allowed: what torch.save(model.state_dict(), FILE) writes"
    )


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    message = refusal(torch.jit.script(nn.Linear(2, 2)), tmp_path, save=torch.jit.save)
    assert message.startswith("model.trained: trained.pth is TorchScript; allowed: what torch.save(")


def test_another_network_is_refused_by_the_first_differences(tmp_path: Path) -> None:
    state = network("resnet18").state_dict()
    message = refusal({"state_dict": prefixed(state, "module.")}, tmp_path)
    count = len(network().state_dict()) + len(state)
    assert message == (
        "model.trained: trained.pth is not a squeezenet1_1: features.0.weight is missing; features.0.bias is missing;"
        f" features.3.squeeze.weight is missing; and {count - 3} more"
    )


def test_other_shapes_and_unknown_names_are_named(tmp_path: Path) -> None:
    state = network().state_dict() | {"features.0.weight": torch.zeros(64, 3, 7, 7), "extra": torch.zeros(1)}
    assert refusal(state, tmp_path) == (
        "model.trained: trained.pth is not a squeezenet1_1: features.0.weight is (64, 3, 7, 7), not (64, 3, 3, 3);"
        " extra is unknown"
    )


def test_another_network_is_not_taken_for_another_number_of_classes(tmp_path: Path) -> None:
    """Both networks have a classifier of this name that reads as many channels."""
    state = network("squeezenet1_0", classes=1000).state_dict()
    message = refusal(state, tmp_path)
    assert message.startswith("model.trained: trained.pth is not a squeezenet1_1: features.0.weight is (96, 3, 7, 7), ")
    assert "classes" not in message


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    state = network(classes=1000).state_dict()
    assert refusal(state, tmp_path) == (
        "model.trained: trained.pth tells 1000 classes apart, the images have 10; allowed: model.new_classifier: true,"
        " which trains a new one"
    )
    found, fresh = loaded(state, tmp_path, new_classifier=True).state_dict(), network(seed=1).state_dict()
    for name, value in found.items():
        assert torch.equal(value, fresh[name] if name.startswith("classifier") else state[name]), name


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), 3])
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    assert "; allowed: a state dict, alone or under `state_dict`, `model`" in refusal(content, tmp_path)


def test_what_is_no_tensor_is_refused(tmp_path: Path) -> None:
    state = network().state_dict() | {"features.0.bias": [1.0] * 64}
    assert refusal(state, tmp_path) == "model.trained: trained.pth holds features.0.bias, which is no tensor"


def test_nan_and_integers_are_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    for value, words in (
        (torch.full((64,), torch.nan), "holds nan"),
        (torch.ones(64).int(), "as int32;"),
    ):
        message = refusal(state | {"features.0.bias": value}, tmp_path)
        assert words in message and "features.0.bias" in message


def test_hash_to_write_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trained.pth"
    torch.save(network().state_dict(), path)
    with pytest.raises(UserError) as refused:
        load_weights(network(), config_of(trained=str(path)), 10, [])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(refused.value).endswith(f"if you trust it, set model.trained_sha256: {digest}")
