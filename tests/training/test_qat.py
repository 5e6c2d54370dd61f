"""The optimisers of QAT, and how long activation ranges follow the data."""

import dataclasses

import pytest
import torch
from networks import committed_params, quantized, scheme
from torch import nn

from selectq.params.configs import QatTrainingConfig
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.qat import RangeFollower, build_optimizer


def training(optimizer: str) -> QatTrainingConfig:
    return dataclasses.replace(
        committed_params().qat_training,
        optimizer=optimizer,
        momentum=0.7,
        weight_decay=0.25,
        range_epochs=1.5,
        range_averaging=0.125,
    )


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_optimizer_is_the_one_asked_for(name: str, kind: type[torch.optim.Optimizer]) -> None:
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    optimizer = build_optimizer(parameters, committed_params().qat["dw"], training(name))
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert all(one is other for one, other in zip(group["params"], parameters, strict=True))
    assert group["weight_decay"] == 0.25
    assert group.get("momentum", 0.7) == 0.7


def test_ranges_are_watched_for_the_first_epochs_alone() -> None:
    quantizers = [place.activation for place in quantized(scheme()).places()][:3]
    assert all(isinstance(quantizer, ActivationQuantizer) and not quantizer.observing for quantizer in quantizers)
    follower = RangeFollower(quantizers[:2], training("sgd"))
    for epoch, observing in ((0.0, True), (1.49, True), (1.5, False), (2.0, False)):
        follower.before_step(epoch)
        assert [quantizer.observing for quantizer in quantizers] == [observing, observing, False]


def test_ranges_follow_once_the_step_is_done() -> None:
    quantizer = next(quantized(scheme()).train().places()).activation
    assert isinstance(quantizer, ActivationQuantizer)
    before, follower = quantizer.high.item(), RangeFollower([quantizer], training("sgd"))
    follower.before_step(0.0)
    quantizer(torch.tensor([0.0, before + 8.0]))
    assert quantizer.high.item() == before, "within a step, every layer knows the scale that is really used"
    follower.after_step(0.0)
    assert quantizer.high.item() == pytest.approx(before + 1.0)
    follower.after_step(0.0)
    assert quantizer.high.item() == pytest.approx(before + 1.0), "a batch is followed once"
