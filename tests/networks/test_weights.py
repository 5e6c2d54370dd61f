"""Starting weights: checked by hash before they are read, and refused in one line."""

import dataclasses
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from small_networks import CLASSES, model_config, same_tensors, trained

from selectq.config.configs import ModelConfig
from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.networks.checkpoint import write_fp32
from selectq.networks.weights import load_weights


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def starting_from(path: str, digest: str | None) -> ModelConfig:
    return dataclasses.replace(model_config(), weights=path, weights_sha256=digest)


def load(model: torch.nn.Module, config: ModelConfig, folders: list[Path], classes: int = len(CLASSES)) -> None:
    load_weights(model, config, classes, folders)


def fresh(classes: int = len(CLASSES)) -> torch.nn.Module:
    torch.manual_seed(5)
    return build_network(model_config(), classes)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_none_keeps_the_random_initialisation() -> None:
    model = fresh()
    load(model, model_config(), [])
    assert same_tensors(model, fresh())


def test_own_checkpoint_is_loaded(here: Path) -> None:
    write_fp32(here / "own.safetensors", trained())
    model = fresh()
    load(model, starting_from("own.safetensors", sha256(here / "own.safetensors")), [])
    assert same_tensors(model, trained().model)


def test_file_is_found_in_the_folders(here: Path) -> None:
    write_fp32(here / "far" / "own.safetensors", trained())
    model = fresh()
    load(model, starting_from("own.safetensors", sha256(here / "far/own.safetensors")), [here / "far"])
    assert same_tensors(model, trained().model)


def test_absolute_path_is_found(here: Path) -> None:
    write_fp32(here / "far" / "own.safetensors", trained())
    path = here / "far" / "own.safetensors"
    model = fresh()
    load(model, starting_from(str(path), sha256(path)), [])
    assert same_tensors(model, trained().model)


def test_new_classifier_stays_fresh_whatever_the_file_holds(here: Path) -> None:
    torch.save(trained().model.state_dict(), here / "own.pth")
    config = starting_from("own.pth", sha256(here / "own.pth"))
    for classes in (7, len(CLASSES)):
        model = fresh(classes)
        drawn = torch.get_rng_state()
        load(model, dataclasses.replace(config, new_classifier=True), [], classes)
        assert torch.equal(torch.get_rng_state(), drawn), "finding the classifier draws no random numbers"
        assert torch.equal(model.features[0][0].weight, trained().model.features[0][0].weight)
        assert torch.equal(model.classifier[1].weight, fresh(classes).classifier[1].weight)


def test_pretrained_file_is_checked_by_the_hash_in_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(trained().model.state_dict(), here / "state")
    name = f"mobilenet_v2-{sha256(here / 'state')[:8]}.pth"
    (here / "state").rename(here / name)
    published = [SimpleNamespace(name="IMAGENET1K_V1", url=f"file:///nowhere/{name}")]
    monkeypatch.setattr(torchvision.models, "get_model_weights", {"mobilenet_v2": published}.get)
    model = fresh()
    load(model, dataclasses.replace(model_config(), weights="IMAGENET1K_V1"), [here])
    assert same_tensors(model, trained().model)

    (here / name).write_bytes(b"something else")
    with pytest.raises(UserError, match="sha256"):
        load(model, dataclasses.replace(model_config(), weights="IMAGENET1K_V1"), [here])


def refusal(config: ModelConfig, folders: list[Path]) -> str:
    model = fresh()
    with pytest.raises(UserError) as refused:
        load(model, config, folders)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_wrong_hash_is_refused_before_the_file_is_read(here: Path) -> None:
    (here / "own.pth").write_bytes(b"not even a checkpoint")
    message = refusal(starting_from("own.pth", "0" * 64), [])
    assert "own.pth" in message and "0" * 64 in message and sha256(here / "own.pth") in message


def test_hash_to_write_is_told(here: Path) -> None:
    write_fp32(here / "own.safetensors", trained())
    expected = f"if you trust it, set model.weights_sha256: {sha256(here / 'own.safetensors')}"
    assert refusal(starting_from("own.safetensors", None), []).endswith(expected)
    assert "absent.pth cannot be had" in refusal(starting_from("absent.pth", None), [])


DAMAGES: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor], str]] = {
    "nan": ("features.8.conv.0.0.weight", lambda x: x.where(x != x.flatten()[3], torch.nan), "holds nan, infinity"),
    "infinity": ("classifier.1.bias", lambda x: x + torch.inf, "holds nan, infinity"),
    "too large for float32": ("features.0.0.weight", lambda x: x.double() * 1e300, "more than float32 can"),
    "integers": ("features.0.0.weight", lambda x: x.to(torch.int8), "as int8; allowed: floating point"),
    "integer statistics": ("features.0.1.running_mean", lambda x: x.long(), "as int64; allowed: floating point"),
    "negative variance": ("features.0.1.running_var", lambda x: -x, "holds a negative variance"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_that_could_not_be_trained_are_named(damage: str, ending: str, here: Path) -> None:
    tensor, change, message = DAMAGES[damage]
    state = trained().model.state_dict()
    state[tensor] = change(state[tensor].clone())
    if ending == "pth":
        torch.save(state, "own.pth")
    else:
        save_file({name: each.contiguous() for name, each in state.items()}, "own.safetensors")
    found = refusal(starting_from(f"own.{ending}", sha256(here / f"own.{ending}")), [])
    assert found.startswith(f"model.weights: own.{ending} holds ") and message in found and tensor in found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_weights_are_loaded(dtype: torch.dtype, here: Path) -> None:
    state = {name: x.to(dtype) if x.is_floating_point() else x for name, x in trained().model.state_dict().items()}
    torch.save(state, "own.pth")
    model = fresh()
    load(model, starting_from("own.pth", sha256(here / "own.pth")), [])
    assert torch.equal(model.features[0][0].weight, state["features.0.0.weight"].float())


def test_missing_file_says_where_it_was_looked_for(here: Path) -> None:
    message = refusal(starting_from("absent.pth", "0" * 64), [here / "far"])
    assert "absent.pth" in message and str(here / "far") in message


@pytest.mark.parametrize("name", ["own.pth", "own.safetensors"])
def test_damaged_file_is_refused(name: str, here: Path) -> None:
    (here / name).write_bytes(b"damaged")
    assert "not a readable checkpoint" in refusal(starting_from(name, sha256(here / name)), [])


def test_pickle_with_code_is_not_run(here: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (here / "sprung",))

    torch.save({"features.0.0.weight": Trap()}, here / "own.pth")
    message = refusal(starting_from("own.pth", sha256(here / "own.pth")), [])
    assert "not a readable checkpoint" in message and "weights_only" not in message
    assert not (here / "sprung").exists()


def test_plain_pickle_is_refused_without_a_warning(here: Path) -> None:
    (here / "own.pth").write_bytes(pickle.dumps({"features.0.0.weight": Path()}, protocol=4))
    assert "not a readable checkpoint" in refusal(starting_from("own.pth", sha256(here / "own.pth")), [])


@pytest.mark.parametrize("content", [{"some.other": torch.zeros(2)}, torch.zeros(2)])
def test_another_network_is_refused(content: object, here: Path) -> None:
    torch.save(content, here / "own.pth")
    assert "model.weights: " in refusal(starting_from("own.pth", sha256(here / "own.pth")), [])
