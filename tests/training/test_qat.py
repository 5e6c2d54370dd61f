"""The optimisers of QAT, and how long activation ranges follow the data."""

import dataclasses

import pytest
import torch
from small_networks import (
    Unsaved,
    calibration,
    coloured_dataset,
    committed_params,
    quantized,
    same_tensors,
    scheme,
    trained,
)
from torch import nn

from selectq.config.configs import QatTrainingConfig
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.post_training import quantize
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.parallel import ALONE
from selectq.training.qat import RangeFollower, Retraining, build_optimizer, retrain


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
    quantizers = [place.activation for place in quantized(scheme()).sites()][:3]
    assert all(isinstance(quantizer, ActivationQuantizer) and not quantizer.observing for quantizer in quantizers)
    follower = RangeFollower(quantizers[:2], training("sgd"))
    for epoch, observing in ((0.0, True), (1.49, True), (1.5, False), (2.0, False)):
        follower.before_step(epoch)
        assert [quantizer.observing for quantizer in quantizers] == [observing, observing, False]


def test_ranges_follow_once_the_step_is_done() -> None:
    quantizer = next(quantized(scheme()).train().sites()).activation
    assert isinstance(quantizer, ActivationQuantizer)
    before, follower = quantizer.high.item(), RangeFollower([quantizer], training("sgd"))
    follower.before_step(0.0)
    quantizer(torch.tensor([0.0, before + 8.0]))
    assert quantizer.high.item() == before, "within a step, every layer knows the scale that is really used"
    follower.after_step(0.0)
    assert quantizer.high.item() == pytest.approx(before + 1.0)
    follower.after_step(0.0)
    assert quantizer.high.item() == pytest.approx(before + 1.0), "a batch is followed once"


def test_ranges_behind_frozen_layers_stay() -> None:
    shared = dataclasses.replace(training("adam"), batch_size=8, calibration=calibration())
    retraining = Retraining(dataclasses.replace(committed_params().qat["dw"], epochs=1), shared, seed=0)
    dataset = coloured_dataset()
    network, _ = retrain(retraining, trained(), dataset, Unsaved(), ALONE)
    start = ptq_pipeline(trained(), dataset, retraining.start, seed=0)
    moved = {
        place.kind
        for place, before in zip(network.sites(), start.sites(), strict=True)
        if not same_tensors(place.activation, before.activation)
    }
    assert moved == {"depthwise"}


@pytest.mark.parametrize("algorithms", [(), ("equalize", "correct_bias")])
def test_retraining_starts_behind_its_algorithms(algorithms: tuple[str, ...]) -> None:
    shared = dataclasses.replace(training("adam"), batch_size=8, calibration=calibration(), algorithms=algorithms)
    still = dataclasses.replace(shared, range_epochs=0.0, weight_decay=0.0)
    config = dataclasses.replace(committed_params().qat["dw"], epochs=1, lr=0.0)
    retraining = Retraining(config, still, seed=0)
    dataset = coloured_dataset(train=30)  # more than are calibrated on
    network, _ = retrain(retraining, trained(), dataset, Unsaved(), ALONE)
    assert same_tensors(network, ptq_pipeline(trained(), dataset, retraining.start, seed=0))
    plain = quantize(trained(), dataset, shared.calibration, retraining.scheme, seed=0)
    assert same_tensors(network, plain) == (not algorithms)
