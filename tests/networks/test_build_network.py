"""Networks by name: torchvision's, timm's and the user's own; what cannot be built is refused in one line."""

import hashlib
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from small_networks import model_config, same_tensors
from torch import nn
from torchvision.models import MobileNetV2

from selectq.config.configs import ModelConfig
from selectq.errors import UserError
from selectq.networks.build import build_network, check_logits

OWN = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.conv(x).relu().mean((2, 3)))

def make(num_classes, channels=8):
    return Small(num_classes, channels)

def broken(num_classes):
    return nn.Linear(3, "ten")

def number(num_classes):
    return num_classes
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SELECTQ_DATA", raising=False)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def own_config(path: Path, function: str = "make", **arguments: object) -> ModelConfig:
    config = model_config("as_is", network=f"{path.name}:{function}", **arguments)
    return replace(config, network_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def refusal(config: ModelConfig) -> str:
    with pytest.raises(UserError) as refused:
        build_network(config, 10)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    return str(refused.value)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
@torch.no_grad()
def test_network_is_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    config = model_config("as_is", strides_removed=0, network=name)
    ours = build_network(config, 10)
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, num_classes=10, **config.arguments)
    assert same_tensors(ours, theirs)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_arguments_are_the_networks_own() -> None:
    model = build_network(model_config(width_mult=0.5, dropout=0.35), 10)
    assert isinstance(model, MobileNetV2)
    assert model.features[1].conv[1].out_channels == 8 and model.classifier[0].p == 0.35


def test_removed_strides_change_no_random_number() -> None:
    drawn = []
    for strides_removed in (0, 3):
        torch.manual_seed(0)
        build_network(model_config(strides_removed=strides_removed), 10)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("as_is", nn.ReLU6)])
def test_relu_stands_in_for_relu6(activation: str, kind: type[nn.Module]) -> None:
    model = build_network(model_config(activation), 10)
    activations = Counter(type(module) for module in model.modules() if isinstance(module, nn.ReLU | nn.ReLU6))
    assert activations == {kind: 35}


def test_other_activations_stay() -> None:
    model = build_network(model_config("relu", network="mobilenet_v3_small"), 10)
    assert any(isinstance(module, nn.Hardswish) for module in model.modules())


def test_timms_network_is_built() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    ours = build_network(model_config("as_is", network="timm:resnet10t", strides_removed=1), 10)
    torch.manual_seed(0)
    assert same_tensors(ours, timm.create_model("resnet10t", num_classes=10))
    assert ours(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert "closest: timm:resnet10t" in refusal(model_config(network="timm:resnet10tt"))
    assert refusal(model_config(network="timm:resnet10t", width=2)).startswith("model.arguments: {'width': 2} do not")


def test_timm_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refusal(model_config(network="timm:resnet10t")).endswith("needs the package timm; install selectq[timm]")


def test_function_of_the_users_is_called(own: Path) -> None:
    model = build_network(own_config(own, channels=4), 7)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {
        "conv.weight": (4, 3, 3, 3),
        "conv.bias": (4,),
        "classifier.weight": (7, 4),
        "classifier.bias": (7,),
    }
    assert build_network(replace(own_config(own), strides_removed=1), 7).conv.stride == (1, 1)


def test_users_file_is_found_in_the_data_folders(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own_config(own)
    (own.parent / "elsewhere").mkdir()
    monkeypatch.chdir(own.parent / "elsewhere")
    assert "own.py cannot be had" in refusal(config)
    monkeypatch.setenv("SELECTQ_DATA", str(own.parent))
    assert isinstance(build_network(config, 7), nn.Module)


def test_users_file_runs_only_under_its_hash(own: Path) -> None:
    config = own_config(own)
    digest = config.network_sha256
    expected = f"model.network: no hash to hold own.py to; if you trust it, set model.network_sha256: {digest}"
    assert refusal(replace(config, network_sha256=None)) == expected
    own.write_text("raise SystemExit('it ran')")
    assert f"not {digest}" in refusal(config)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("makes", "model.network: own.py has no function makes"),
        ("number", "model.network: own.py:number made a int; allowed: a torch.nn.Module"),
        ("broken", "model.network: own.py: TypeError: "),
    ],
)
def test_users_function_that_makes_no_network_is_refused(own: Path, function: str, message: str) -> None:
    assert refusal(own_config(own, function)).startswith(message)


def test_fault_in_the_users_file_is_told_with_its_line(own: Path) -> None:
    own.write_text("import torch\n\nrubbish\n")
    found = refusal(own_config(own))
    assert found.startswith("model.network: own.py: NameError: name 'rubbish' is not defined (line 3 of ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenetv2", "model.network: torchvision has no 'mobilenetv2'; closest: mobilenet_v2, "),
        ("resnet", "model.network: torchvision has no 'resnet'; closest: resnet"),
        ("fcn_resnet50", "model.network: torchvision has no 'fcn_resnet50'; closest: "),
        ("_", "model.network: torchvision has no '_'"),
    ],
)
def test_unknown_network_is_refused_with_those_called_alike(name: str, message: str) -> None:
    assert refusal(model_config(network=name)).startswith(message)


@pytest.mark.parametrize("argument", ["with_mult", "num_classes", "weights"])
def test_argument_that_the_network_does_not_take_is_refused(argument: str) -> None:
    found = refusal(replace(model_config(), arguments={argument: 1}))
    assert found.startswith(f"model.arguments: {{'{argument}': 1}} do not suit mobilenet_v2 (") and argument in found


def logits_refused(name: str, size: int, **arguments: object) -> str:
    config = model_config("as_is", strides_removed=0, network=name, **arguments)
    with pytest.raises(UserError) as refused:
        check_logits(build_network(config, 10), config, size, 10)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    return str(refused.value)


def test_network_that_the_images_do_not_suit_is_refused() -> None:
    assert logits_refused("alexnet", 32).startswith("model.network: alexnet takes no images of 32 pixels (")


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_network_of_several_outputs_is_refused() -> None:
    expected = "model.network: googlenet (transform_input: False) puts out GoogLeNetOutputs while training; allowed:"
    assert logits_refused("googlenet", 64, transform_input=False).startswith(expected)


def test_check_of_the_logits_leaves_the_network_and_random_numbers_alone() -> None:
    config = model_config()
    model = build_network(config, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    check_logits(model, config, 16, 10)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1)) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
