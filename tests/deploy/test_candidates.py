"""The choice among candidates: most right, nearest to FP32, cheapest."""

import numpy as np
import pytest
import torch
from known_networks import build
from small_networks import coloured_dataset, model_config
from torch import nn

from selectq.data.evaluate import predict_logits
from selectq.deploy.candidates import (
    candidates,
    choose,
    fp32_forward,
    has_replaceable_relu6,
    relu6_cost,
    scheme_of,
)
from selectq.intervals import CONFIDENCE
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.selection.trial import Trial, Tried

OFFERED = candidates(24, True, scheme_of(8, 8))
CHOICES = {
    "the most right": ([(90, 0.1), (92, 0.9), (90, 0.2)], 1),
    "within one image the nearest": ([(92, 0.3), (91, 0.2), (90, 0.1)], 1),
    "of equal ones the cheapest": ([(90, 0.2), (90, 0.2), (90, 0.2)], 0),
    "a plain one that is nearest": ([(90, 0.1), (91, 0.2), (91, 0.3)], 0),
}


@pytest.mark.parametrize(("measured", "expected"), CHOICES.values(), ids=CHOICES)
def test_choice(measured: list[tuple[int, float]], expected: int) -> None:
    tried = [
        Tried(each, None, np.arange(100) < right, distance)  # type: ignore[arg-type]
        for each, (right, distance) in zip(OFFERED, measured, strict=False)
    ]
    assert choose(tried) is tried[expected]


def test_cheapest_come_first_and_relu_only_where_asked_for() -> None:
    assert [len(each.config.algorithms) for each in OFFERED] == [0, 0, 3, 4]
    assert [each.config.calibration.estimator for each in OFFERED] == ["minmax", "percentile", "minmax", "minmax"]
    assert candidates(24, False, scheme_of(8, 8)) == OFFERED[:3]


def test_few_codes_of_activations_are_not_spread_over_whole_ranges() -> None:
    for weights, activations, estimators in ((4, 8, "minmax percentile minmax"), (8, 4, "minmax mse mse")):
        offered = candidates(24, False, scheme_of(weights, activations))
        assert [each.config.calibration.estimator for each in offered] == estimators.split()
        configs = [each.config for each in offered]
        assert {(config.weights.bits, config.activations.bits) for config in configs} == {(weights, activations)}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.more, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.relu6 = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.relu6(self.more(self.relu6(self.stem(x)))).mean((2, 3)))


def test_relu6_can_be_replaced_where_all_of_it_is_modules() -> None:
    networks = {name: Fp32Checkpoint(build(name), model_config(), ()) for name in ("mobilenet_v2", "resnet18")}
    assert has_replaceable_relu6(networks["mobilenet_v2"])
    assert not has_replaceable_relu6(networks["resnet18"])
    assert not has_replaceable_relu6(Fp32Checkpoint(Functional(), model_config(), ()))


def test_each_is_measured_on_the_validation_images() -> None:
    dataset = coloured_dataset()
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    fp32 = Fp32Checkpoint(nn.Sequential(*layers).eval(), model_config(), dataset.classes)
    fp32_logits = predict_logits(fp32_forward(fp32.model, torch.device("cpu")), dataset.validation, "FP32")
    trial = Trial(fp32, dataset, fp32_logits, 0, CONFIDENCE)
    for each in map(trial.quantize, candidates(24, False, scheme_of(8, 8))):
        with torch.no_grad():
            logits = each.network(dataset.validation.normalization(dataset.validation.images))
        assert np.array_equal(each.right, logits.argmax(1) == dataset.validation.labels)
        assert each.distance == pytest.approx(((logits - fp32_logits) ** 2).mean().item(), rel=1e-3)
        assert 0 < each.distance < 1


def test_cost_of_relu_is_that_of_the_fp32_network() -> None:
    class Bounded(nn.Module):
        """Names class 0 as long as its logits are bounded, and class 1 without the bound."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act, self.head = nn.Conv2d(3, 2, 1), nn.ReLU6(), nn.Linear(2, 3)
            for each in (self.layer, self.head):
                nn.init.zeros_(each.weight)
            self.layer.bias.data = torch.tensor([6.0, 60.0])
            self.head.weight.data[:2] = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
            nn.init.zeros_(self.head.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.act(self.layer(x)).mean((2, 3)))

    dataset = coloured_dataset()
    fp32 = Fp32Checkpoint(Bounded().eval(), model_config(), dataset.classes)
    fp32_logits = predict_logits(fp32_forward(fp32.model, torch.device("cpu")), dataset.validation, "FP32")
    assert set(fp32_logits.argmax(1).tolist()) == {0}
    labels = dataset.validation.labels
    expected = 100 * ((labels == 0).double().mean() - (labels == 1).double().mean()).item()
    assert relu6_cost(fp32, dataset, fp32_logits) == pytest.approx(expected)
    dataset.validation.labels[:2] = 0
    assert relu6_cost(fp32, dataset, fp32_logits) == pytest.approx(expected + 100 * 2 / len(labels))
