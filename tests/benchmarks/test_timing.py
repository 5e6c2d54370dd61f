"""The order in which sides are timed, and that what does not train is not."""

from dataclasses import replace

import pytest
import torch
from timing import Side, Trainer, time_in_turns
from torch import nn

from selectq.training.loop import Hooks


def test_sides_take_turns_after_one_that_does_not_count_and_each_opens_with_an_untimed_step() -> None:
    log: list[str] = []
    speeds = time_in_turns({"A": _side("A", log, steps=3), "B": _side("B", log, steps=1)}, 2, "turns")
    assert "".join(log) == "AAAABB" * 3
    assert [len(speeds[name]) for name in "AB"] == [2, 2]
    assert all(speed > 0 for side in speeds.values() for speed in side)


def test_speed_is_that_of_the_timed_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0] * 2)
    monkeypatch.setattr("timing.perf_counter", lambda: next(clock))
    assert time_in_turns({"A": _side("A", [], steps=3)}, 1, "speed") == {"A": [6.0]}


@pytest.mark.usefixtures("algorithms_put_back")
@pytest.mark.parametrize("before", [False, True])
def test_each_side_has_its_algorithms_and_the_settings_come_back(before: bool) -> None:
    torch.use_deterministic_algorithms(before)
    log: list[bool] = []

    def work() -> int:
        log.append(torch.are_deterministic_algorithms_enabled())
        return 1

    time_in_turns({"A": Side(work, True, 1), "B": Side(work, False, 1)}, 1, "flags")
    assert log == [True, True, False, False, True, True, False, False]
    assert torch.are_deterministic_algorithms_enabled() == before


def test_step_learns_between_its_hooks() -> None:
    network, calls = nn.Linear(2, 2), list[str]()

    class Noted(Hooks):
        def before_step(self, epoch: float) -> None:
            calls.append("before")

        def after_step(self, epoch: float) -> None:
            calls.append("after" if not torch.equal(before, network.weight) else "too soon")

    before = network.weight.detach().clone()
    batches = iter([(torch.ones(4, 2), torch.tensor([0, 1, 1, 1]))])
    assert Trainer(network, torch.optim.SGD(network.parameters(), lr=0.1), batches, Noted()).step() == 4
    assert calls == ["before", "after"]


def test_a_step_that_does_not_train_is_not_timed() -> None:
    """Under torch 2.11 the compiled step of QAT once was such a one, and won by it."""
    network = nn.Linear(2, 2)
    batches = iter([(torch.ones(4, 2), torch.tensor([0, 1, 1, 1]))] * 9)
    idle = Trainer(lambda x: 0.0 * network(x), torch.optim.SGD(network.parameters(), lr=0.1), batches)
    with pytest.raises(RuntimeError, match="the step trains 0 of its 1 filters"):
        time_in_turns({"idle": Side(idle.step, False, 1, idle.check)}, 1, "idle")
    working = replace(idle, forward=network)
    assert len(time_in_turns({"working": Side(working.step, False, 1, working.check)}, 1, "working")["working"]) == 1


def _side(name: str, log: list[str], steps: int) -> Side:
    def work() -> int:
        log.append(name)
        return 4

    return Side(work, False, steps)
