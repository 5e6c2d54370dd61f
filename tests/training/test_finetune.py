"""How FP32 training goes forward, by the precision that the parameters ask for."""

import dataclasses
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from small_networks import committed_params, float_images, model_config, trained
from torch import Tensor, nn

from selectq.kernels.float_step import FloatStep
from selectq.networks.build import build_network
from selectq.training.finetune import finetune_forward, finetune_optimizer
from selectq.training.forward import RecordedStep
from selectq.training.parallel import ALONE

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def step(precision: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradients of all parameters."""
    model = trained().model.train()
    model.classifier[0].p = 0.0
    config = dataclasses.replace(committed_params().finetune, precision=precision)
    logits = finetune_forward(model, CPU, config, ALONE)(float_images(8, seed=1))
    F.cross_entropy(logits, torch.arange(8) % 3).backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_optimizer_is_that_of_the_parameters() -> None:
    config = dataclasses.replace(committed_params().finetune, momentum=0.7, nesterov=True, weight_decay=0.25)
    model = trained().model
    (group,) = finetune_optimizer(model, config).param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.7, True, 0.25)
    assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in model.parameters()}


@pytest.mark.usefixtures("kernels")
def test_bfloat16_products_give_nearly_the_same_step() -> None:
    (exact, gradients), (logits, others) = step("float32"), step("bfloat16")
    assert logits.dtype == torch.float32 and not torch.equal(logits, exact)
    assert torch.linalg.vector_norm(logits - exact) < 0.05 * torch.linalg.vector_norm(exact)
    assert others.keys() == gradients.keys()
    assert all(gradient.dtype == torch.float32 for gradient in others.values())
    name = "classifier.1.weight"
    assert torch.linalg.vector_norm(others[name] - gradients[name]) < 0.1 * torch.linalg.vector_norm(gradients[name])


@pytest.mark.usefixtures("kernels")
def test_that_bfloat16_is_slow_on_a_cpu_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    step("bfloat16")
    assert capsys.readouterr().err.startswith("finetune.precision: bfloat16 on a CPU takes twice as long as float32")
    step("float32")
    assert not capsys.readouterr().err


@pytest.mark.usefixtures("kernels")
def test_kernels_train_the_networks_that_they_know() -> None:
    config = dataclasses.replace(committed_params().finetune, precision="float32")
    model, other = trained().model, build_network(model_config(network="resnet18"), 3)
    assert all(isinstance(finetune_forward(each, CPU, config, ALONE), FloatStep) for each in (model, other))


def test_a_network_without_anything_for_the_kernels_trains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    config = dataclasses.replace(committed_params().finetune, precision="float32")
    model = build_network(model_config(network="squeezenet1_1"), 3)
    assert finetune_forward(model, CPU, config, ALONE) is model and not capsys.readouterr().err


class ValueDependent(nn.Module):
    """A network that torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.mean() > 0 else x


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_that_fx_cannot_follow_trains_itself_and_that_is_said(
    precision: Literal["float32", "bfloat16"], capsys: pytest.CaptureFixture[str]
) -> None:
    config, model = dataclasses.replace(committed_params().finetune, precision=precision), ValueDependent()
    forward = finetune_forward(model, GPU, config, ALONE)
    assert not isinstance(forward, RecordedStep)
    (line,) = capsys.readouterr().err.splitlines()
    said = "training neither by kernels nor recorded, more slowly: torch.fx cannot follow ValueDependent (symbolically"
    assert line.startswith(said)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_records_what_there_are_no_kernels_for(precision: Literal["float32", "bfloat16"]) -> None:
    config = dataclasses.replace(committed_params().finetune, precision=precision)
    model = build_network(model_config(network="squeezenet1_1"), 3)
    assert isinstance(finetune_forward(model, GPU, config, ALONE), RecordedStep)


def test_fault_of_the_fast_path_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: nn.Module) -> bool:
        raise KeyError("a fault")

    monkeypatch.setattr("selectq.kernels.float_step._layers", broken)
    with pytest.raises(KeyError, match="a fault"):
        finetune_forward(trained().model, CPU, committed_params().finetune, ALONE)
