"""The training loop learns, repeats itself to the bit, and refuses what cannot be trained."""

import dataclasses
import math

import pytest
import torch
from small_networks import (
    BATCH,
    CLASSES,
    NO_AUGMENT,
    Unsaved,
    coloured_dataset,
    coloured_noise,
    committed_params,
    model_config,
    plan,
    quantized,
    same_tensors,
    scheme,
    trained,
)
from torch import nn

from selectq.config.configs import AugmentConfig
from selectq.data.packed import Dataset, Split
from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.quantization.scopes import freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.training.loop import Hooks, HookSequence, fit
from selectq.training.qat import RangeFollower, ScaleUpdate, build_optimizer
from selectq.training.resume import Row


def one_batch(labels: torch.Tensor) -> Dataset:
    """Eight images to train on and to validate on."""
    only = Split(coloured_noise(BATCH, seed=4).images, labels)
    return dataclasses.replace(coloured_dataset(), train=only, validation=only)


def test_fp32_overfits_one_batch() -> None:
    torch.manual_seed(0)
    config = model_config(dropout=0.0)
    model = build_network(config, len(CLASSES)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    labels = torch.tensor([0, 0, 1, 2, 2, 1, 0, 1])  # they have nothing to do with the images
    dataset = one_batch(labels)
    history = fit(model, optimizer, dataset, plan(model, dataset, epochs=30, lr=0.01), Unsaved())
    assert history[0]["loss"] > 0.8
    assert history[-2]["loss"] < 0.01 and history[-2]["top1"] == 100.0


@pytest.mark.parametrize(("bits", "lr", "epochs"), [(8, 0.001, 25), (4, 0.0005, 30)])
def test_qat_overfits_one_batch(bits: int, lr: float, epochs: int) -> None:
    params, network = committed_params(), quantized(scheme(bits, bits=bits))
    parameters = freeze_outside(network, parameters_in_scope(trained().model, ["all"]))
    optimizer = build_optimizer(parameters, params.qat["full"], params.qat_training)
    training = dataclasses.replace(params.qat_training, range_epochs=0.8 * epochs, range_averaging=0.1)
    follower = RangeFollower(quantizers_in_scope(network), training)
    dataset = one_batch(
        (torch.arange(BATCH) + 1) % len(CLASSES)
    )  # to be learnt anew: the FP32 network says the class before
    chosen = dataclasses.replace(
        plan(network, dataset, epochs=epochs, lr=lr), hooks=HookSequence(follower, ScaleUpdate(network))
    )
    history = fit(network, optimizer, dataset, chosen, Unsaved())
    assert history[0]["loss"] > 5
    assert history[-1]["split"] == "validation"
    assert history[-1]["loss"] < 0.05 and history[-1]["top1"] == 100.0


def test_history_has_a_row_for_each_epoch_and_split() -> None:
    history = run_once(seed=0)[1]
    assert [(row["epoch"], row["split"]) for row in history] == [
        (1, "train"),
        (1, "validation"),
        (2, "train"),
        (2, "validation"),
    ]
    assert all(row["loss"] > 0 and 0 <= row["top1"] <= 100 for row in history)


def run_once(seed: int, augment: AugmentConfig | None = None) -> tuple[nn.Module, list[dict[str, object]]]:
    """A freshly initialised network (always the same one), trained for two epochs."""
    torch.manual_seed(1)
    model = build_network(model_config(), len(CLASSES)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    dataset = coloured_dataset(train=20)
    chosen = plan(model, dataset, epochs=2, seed=seed, augment=augment or committed_params().finetune.augment)
    return model, fit(model, optimizer, dataset, chosen, Unsaved())


def test_same_seed_same_bits_and_another_seed_others() -> None:
    (one, history), (same, same_history), (other, other_history) = (run_once(seed) for seed in (0, 0, 1))
    assert same_tensors(one, same) and history == same_history
    assert not same_tensors(one, other) and history != other_history
    assert not same_tensors(one, run_once(0, NO_AUGMENT)[0]), "images are augmented"


class Constant(nn.Module):
    """Puts out the same trainable logits for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(CLASSES)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


class Noting(nn.Module):
    """Notes which images it is shown in training, and what its dropout keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(CLASSES)))
        self.modes = list[bool]()
        self.shown = list[list[float]]()
        self.kept = list[list[float]]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        if self.training:
            self.shown.append(x.mean((1, 2, 3)).tolist())
            self.kept.append(nn.functional.dropout(torch.ones(20)).tolist())
        return self.logits.expand(len(x), -1)


def test_order_and_dropout_are_the_seed_s_and_each_epoch_s_own() -> None:
    noted = []
    for seed in (0, 0, 1):
        network, dataset = Noting(), coloured_dataset(train=BATCH)
        fit(
            network,
            torch.optim.SGD(network.parameters()),
            dataset,
            plan(network, dataset, epochs=2, seed=seed),
            Unsaved(),
        )
        noted.append((network.shown, network.kept))
        assert network.modes == [True, False] * 2, "in validation nothing is dropped"
    one, same, other = noted
    assert one == same
    for epochs, others in zip(one, other, strict=True):
        assert epochs[0] != epochs[1] and epochs[0] != others[0] and epochs[1] != others[0]


class Recorded(Hooks):
    """Remembers when it was called, and with which epoch."""

    def __init__(self, calls: list[tuple[str, float]]) -> None:
        self.calls = calls

    def before_step(self, epoch: float) -> None:
        self.calls.append(("before", epoch))

    def after_step(self, epoch: float) -> None:
        self.calls.append(("after", epoch))


def test_every_step_has_the_rate_of_its_fractional_epoch() -> None:
    network, calls = Constant(), list[tuple[float, float]]()
    optimizer = torch.optim.SGD(network.parameters(), lr=123.0)
    optimizer.register_step_pre_hook(lambda *_: calls.append((hooks.calls[-1][1], optimizer.param_groups[0]["lr"])))
    times, dataset, hooks = list[float](), coloured_dataset(train=BATCH * 4 + 5), Recorded([])
    chosen = plan(network, dataset, epochs=2)
    chosen = dataclasses.replace(chosen, schedule=lambda epoch: 0.1 + epoch, hooks=hooks)
    optimizer.register_step_pre_hook(lambda *_: times.append(hooks.calls[-1][1]))
    fit(network, optimizer, dataset, chosen, Unsaved())
    assert times == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75], "the incomplete last batch is no step"
    assert hooks.calls == [(when, time) for time in times for when in ("before", "after")]
    assert calls == [(time, 0.1 + time) for time in times]


def test_reported_loss_and_accuracy_are_those_of_the_epoch() -> None:
    network = Constant()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    dataset = coloured_dataset(train=24, validation=9)
    chosen = dataclasses.replace(plan(network, dataset), schedule=lambda epoch: 0.0)
    train, validation = fit(network, optimizer, dataset, chosen, Unsaved())
    assert not network.training
    expected = {"loss": torch.tensor(3.0).log().item(), "top1": 100 / 3}  # equal logits: the first class is named
    assert {name: train[name] for name in expected} == pytest.approx(expected)
    assert {name: validation[name] for name in expected} == pytest.approx(expected)


def test_smoothed_labels_are_those_of_training_alone() -> None:
    """Logits that name each class with certainty 0.8, 0.1, 0.1: its loss by hand, where labels are smoothed and not."""
    network = Constant()
    network.logits.data = torch.tensor([0.8, 0.1, 0.1]).log()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    dataset = coloured_dataset(train=24, validation=9)
    chosen = dataclasses.replace(plan(network, dataset), schedule=lambda epoch: 0.0, label_smoothing=0.3)
    train, validation = fit(network, optimizer, dataset, chosen, Unsaved())
    hard = -(math.log(0.8) + 2 * math.log(0.1)) / 3  # as many images of each class: smoothing changes none of the mean
    assert validation["loss"] == pytest.approx(hard) and train["loss"] == pytest.approx(hard)
    one_class = dataclasses.replace(
        dataset, train=of_class(dataset.train, 0), validation=of_class(dataset.validation, 0)
    )
    chosen = dataclasses.replace(plan(network, one_class), schedule=lambda epoch: 0.0, label_smoothing=0.3)
    train, validation = fit(network, optimizer, one_class, chosen, Unsaved())
    assert validation["loss"] == pytest.approx(-math.log(0.8))
    assert train["loss"] == pytest.approx(-(0.7 * math.log(0.8) + 0.3 * (math.log(0.8) + 2 * math.log(0.1)) / 3))


def of_class(split: Split, label: int) -> Split:
    wanted = split.labels == label
    return Split(split.images[wanted], split.labels[wanted])


def test_loss_that_is_no_number_is_one_line() -> None:
    network = Constant()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    dataset = coloured_dataset()
    exploding = dataclasses.replace(plan(network, dataset), schedule=lambda epoch: float("inf"))
    with pytest.raises(UserError, match=r"^epoch 1: the loss is not a number; lower lr \(now up to inf\)$"):
        fit(network, optimizer, dataset, exploding, Unsaved())


def test_network_ruined_by_the_last_step_is_not_passed_on() -> None:
    network = Constant()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    dataset = coloured_dataset(train=3 * BATCH)
    last_step = plan(network, dataset)
    last_step = dataclasses.replace(last_step, schedule=lambda epoch: float("inf") if epoch > 0.6 else 0.1)
    with pytest.raises(UserError, match="the loss is not a number"):
        fit(network, optimizer, dataset, last_step, Unsaved())


def test_hooks_run_in_their_order() -> None:
    said: list[str] = []

    class Saying(Hooks):
        def __init__(self, name: str) -> None:
            self._name = name

        def before_step(self, epoch: float) -> None:
            said.append(f"{self._name} before {epoch}")

        def after_step(self, epoch: float) -> None:
            said.append(f"{self._name} after {epoch}")

        def after_epoch(self, epoch: int) -> Row:
            return {self._name: epoch}

    hooks = HookSequence(Saying("a"), Saying("b"))
    hooks.before_step(0.5)
    hooks.after_step(0.5)
    assert said == ["a before 0.5", "b before 0.5", "a after 0.5", "b after 0.5"]
    assert hooks.after_epoch(3) == {"a": 3, "b": 3}
