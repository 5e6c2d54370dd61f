"""Ratio arithmetic, and the order in which two sides are timed."""

from collections.abc import Iterator

import pytest
import torch
from timing import Batch, Protocol, Spread, Timing, Trainer, spread, time_in_turns
from torch import nn


def test_ratios_are_taken_pair_by_pair() -> None:
    assert Timing(ours=[300.0, 150.0, 400.0], peer=[200.0, 50.0, 100.0]).ratios() == [1.5, 3.0, 4.0]


def test_ratio_ignores_a_drift_that_hits_both_sides() -> None:
    assert spread(Timing(ours=[600.0, 300.0, 60.0], peer=[400.0, 200.0, 40.0]).ratios()) == Spread(1.5, 1.5, 1.5)


def test_median_of_ratios_is_not_the_ratio_of_medians() -> None:
    timing = Timing(ours=[10.0, 20.0, 30.0], peer=[10.0, 5.0, 20.0])
    assert spread(timing.ratios()).median == 1.5
    assert spread(timing.ours).median / spread(timing.peer).median == 2.0


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0, 8.0]) == Spread(1.0, 2.5, 8.0)


def test_ratios_need_as_many_repeats_of_both_sides() -> None:
    with pytest.raises(ValueError, match="zip"):
        Timing(ours=[1.0, 2.0], peer=[1.0]).ratios()


def test_sides_take_turns_after_burn_in_and_each_turn_opens_with_an_untimed_step() -> None:
    log: list[str] = []
    timing = time_in_turns(_trainer("A", log), _trainer("B", log), Protocol(2, 3, 1), "turns")
    burn_in, turns = "AABB", "AAAABBBB" * 2
    assert "".join(log) == burn_in + turns
    assert len(timing.ours) == len(timing.peer) == 2
    assert all(speed > 0 for speed in timing.ours + timing.peer)


def test_each_side_has_its_algorithms_and_the_settings_come_back() -> None:
    log: list[bool] = []
    time_in_turns(_recorder(log, deterministic=True), _recorder(log, deterministic=False), Protocol(1, 1, 1), "flags")
    assert log == [True, True, False, False, True, True, False, False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_step_learns() -> None:
    trainer = _trainer("A", [])
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    assert trainer.step() == 4
    assert all(not torch.equal(old, new) for old, new in zip(before, trainer.network.parameters(), strict=True))


def _trainer(name: str, log: list[str]) -> Trainer:
    def batches() -> Iterator[Batch]:
        while True:
            log.append(name)
            yield torch.ones(4, 2), torch.tensor([0, 1, 1, 1])

    network = nn.Linear(2, 2)
    return Trainer(network, torch.optim.SGD(network.parameters(), lr=0.1), batches(), deterministic=False)


def _recorder(log: list[bool], deterministic: bool) -> Trainer:
    def batches() -> Iterator[Batch]:
        while True:
            log.append(torch.are_deterministic_algorithms_enabled())
            yield torch.ones(1, 2), torch.tensor([0])

    network = nn.Linear(2, 2)
    return Trainer(network, torch.optim.SGD(network.parameters(), lr=0.1), batches(), deterministic)
