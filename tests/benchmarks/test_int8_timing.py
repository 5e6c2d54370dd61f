"""The order in which many sides are timed, and what a turn holds, by a clock that only sleeping and running move."""

import pytest
from int8_timing import Run, Turns, time_sides

INFERENCE = 0.25


class Clock:
    """Seconds, and what was done in them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log = ""

    def side(self, name: str, seconds: float = INFERENCE) -> Run:
        def run() -> None:
            self.log += name
            self.now += seconds

        return run

    def sleep(self, seconds: float) -> None:
        self.log += "."
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("int8_timing.sleep", clock.sleep)
    monkeypatch.setattr("int8_timing.perf_counter", lambda: clock.now)
    return clock


def test_sides_take_turns_after_a_turn_that_does_not_count(clock: Clock) -> None:
    turns = Turns(repeats=2, rest=0.0, burn_in=0.0, seconds=0.0)
    speeds = time_sides({"A": clock.side("A"), "B": clock.side("B")}, 4, turns, "turns")
    assert clock.log == ".AA.BB" * (1 + 2)
    assert {name: len(values) for name, values in speeds.items()} == {"A": 2, "B": 2}


def test_speed_is_images_per_second_of_the_clock_alone(clock: Clock) -> None:
    turns = Turns(repeats=3, rest=7.0, burn_in=0.3, seconds=1.0)
    speeds = time_sides({"slow": clock.side("A"), "fast": clock.side("B", INFERENCE / 2)}, 8, turns, "speed")
    assert speeds == {"slow": [8 / INFERENCE] * 3, "fast": [16 / INFERENCE] * 3}


@pytest.mark.parametrize(
    ("burn_in", "seconds", "runs"),
    [(0.0, 0.0, 1 + 1), (INFERENCE, INFERENCE, 1 + 1), (2 * INFERENCE, 3.5 * INFERENCE, 2 + 4)],
)
def test_burn_in_and_clock_last_at_least_as_long_as_they_should(
    clock: Clock, burn_in: float, seconds: float, runs: int
) -> None:
    time_sides({"A": clock.side("A")}, 1, Turns(1, 0.0, burn_in, seconds), "seconds")
    assert clock.log == ("." + runs * "A") * 2
