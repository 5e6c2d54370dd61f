"""The order in which many sides are timed, and what a turn holds, by a clock that only sleeping and running move."""

import pytest

from selectq.latency.turns import Run, Spread, Timing, Turns, images_per_second, spread, time_sides

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
    monkeypatch.setattr("selectq.latency.turns.sleep", clock.sleep)
    monkeypatch.setattr("selectq.latency.turns.perf_counter", lambda: clock.now)
    return clock


def test_sides_take_turns_after_a_turn_that_does_not_count(clock: Clock) -> None:
    turns = Turns(repeats=2, rest=0.0, burn_in=0.0, seconds=0.0)
    timed = time_sides({"A": clock.side("A"), "B": clock.side("B")}, turns, "turns")
    assert clock.log == ".AA.BB" * (1 + 2)
    assert {name: len(values) for name, values in timed.items()} == {"A": 2, "B": 2}


def test_every_inference_is_timed_and_nothing_else(clock: Clock) -> None:
    turns = Turns(repeats=3, rest=7.0, burn_in=0.3, seconds=1.0)
    timed = time_sides({"slow": clock.side("A"), "fast": clock.side("B", INFERENCE / 2)}, turns, "speed")
    assert timed == {"slow": [[INFERENCE] * 4] * 3, "fast": [[INFERENCE / 2] * 8] * 3}


def test_speed_of_a_turn_is_images_over_seconds() -> None:
    assert images_per_second([[0.5, 1.5], [4.0]], batch=8) == [8.0, 2.0]


@pytest.mark.parametrize(
    ("burn_in", "seconds", "runs"),
    [(0.0, 0.0, 1 + 1), (INFERENCE, INFERENCE, 1 + 1), (2 * INFERENCE, 3.5 * INFERENCE, 2 + 4)],
)
def test_burn_in_and_clock_last_at_least_as_long_as_they_should(
    clock: Clock, burn_in: float, seconds: float, runs: int
) -> None:
    time_sides({"A": clock.side("A")}, Turns(1, 0.0, burn_in, seconds), "seconds")
    assert clock.log == ("." + runs * "A") * 2


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
