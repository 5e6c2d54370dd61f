"""Random scopes: as large as the original, of any kind of layer, the same for a seed; and the committed profile."""

import pytest
from small_networks import committed_params, model_config
from torchvision.models import MobileNetV2

from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.parameters import parameter_kinds
from selectq.networks.build import build_network
from selectq.quantization.controls import TOLERANCE, convolution_sizes, random_scopes
from selectq.quantization.scopes import count_parameters, parameters_in_scope

QAT = committed_params().qat


@pytest.fixture(scope="module")
def model() -> MobileNetV2:
    return build_network(model_config(width_mult=1.0), 10)


def test_sizes_are_of_all_convolutions(model: MobileNetV2) -> None:
    sizes = convolution_sizes(model, capture(model))
    assert len(sizes) == 52
    assert sizes["features.0.0"] == 864 and sizes["features.18.0"] == 409_600 and sizes["features.2.conv.1.0"] == 864


@pytest.mark.parametrize("name", ["dw", "dwpw"])
def test_controls_are_as_large_as_the_original(name: str, model: MobileNetV2) -> None:
    graph = capture(model)
    wanted = count_parameters(model, parameters_in_scope(model, QAT[name].scope, graph)) - 12_810
    scopes = random_scopes(model, QAT[name].scope, 20, seed=0)
    assert len(set(scopes)) == 20 and {scope[-1] for scope in scopes} == {"classifier"}
    found = [count_parameters(model, parameters_in_scope(model, scope[:-1], graph)) for scope in scopes]
    assert max(abs(convolutions - wanted) for convolutions in found) <= TOLERANCE * wanted
    assert set(found) != {wanted}, "not the original"


def test_layers_are_of_every_kind(model: MobileNetV2) -> None:
    kinds = parameter_kinds(model)
    scopes = random_scopes(model, QAT["dwpw"].scope, 30, seed=0)
    drawn = {kinds[f"{name}.weight"] for scope in scopes for name in scope[:-1]}
    assert drawn == {"stem", "expansion", "depthwise", "projection", "head"}


def test_seed_decides(model: MobileNetV2) -> None:
    one, same, other = (random_scopes(model, QAT["dw"].scope, 3, seed) for seed in (0, 0, 1))
    assert one == same and not set(one) & set(other)
    assert random_scopes(model, QAT["dw"].scope, 2, 0) == one[:2], "more of them leave the first as they are"


def test_scope_is_no_control_of_itself(model: MobileNetV2) -> None:
    """The stem is as large as one other layer: half of the random sets of its size would be the stem."""
    assert {random_scopes(model, ["stem"], 1, seed) == [("features.0.0",)] for seed in range(8)} == {False}


def test_classifier_is_in_no_control_that_has_none(model: MobileNetV2) -> None:
    (scope,) = random_scopes(model, ["features.14"], 1, seed=0)
    assert "classifier" not in scope


@pytest.mark.parametrize("scope", [["classifier"], ["features.1.conv.0.0"]])
def test_no_set_of_that_size(scope: list[str], model: MobileNetV2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectq.quantization.controls.ATTEMPTS", 300)
    with pytest.raises(UserError, match=r"too few random sets of convolutions come within 2% of that"):
        random_scopes(model, scope, 5, seed=0)
