"""The optimisers of QAT, and how long activation ranges follow the data."""

import dataclasses

import pytest
import torch
from networks import committed_params, quantized, scheme
from torch import nn

from selectq.params.configs import QatTrainingConfig
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.qat import build_optimizer, range_follower


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


def test_ranges_follow_for_the_first_epochs_alone() -> None:
    quantizers = [place.activation for place in quantized(scheme()).places()][:3]
    assert all(isinstance(quantizer, ActivationQuantizer) and quantizer.averaging == 0.0 for quantizer in quantizers)
    follow = range_follower(quantizers[:2], training("sgd"))
    for epoch, averaging in ((0.0, 0.125), (1.49, 0.125), (1.5, 0.0), (2.0, 0.0)):
        follow(epoch)
        assert [quantizer.averaging for quantizer in quantizers] == [averaging, averaging, 0.0]
