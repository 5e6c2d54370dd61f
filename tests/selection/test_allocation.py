"""The choice under budgets against all choices that there are, and what is said where there is none."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import pytest

from selectq.errors import UserError
from selectq.selection.allocation import Option, Pairs, allocate, choose_retrained

Options = dict[str, list[Option[int]]]
WIDTHS = (8, 4, 2)


def random_options(generator: random.Random, layers: int) -> Options:
    """Losses of very different sizes, costs in whole numbers: ties and exact hits of a budget occur."""
    return {
        f"layer{index}": [
            Option(
                bits,
                generator.random() * 10 ** generator.randint(-4, 0) / bits,
                {"size": bits * generator.randint(1, 9), "time": generator.randint(1, 20)},
            )
            for bits in WIDTHS[: generator.randint(2, 3)]
        ]
        for index in range(layers)
    }


def random_pairs(generator: random.Random, options: Options) -> Pairs[int]:
    one, two, three = generator.sample(list(options), 3)
    return {
        ((first, 4), (second, choice)): generator.uniform(-0.3, 0.3)
        for first, second in ((one, two), (two, three))
        for choice in (8, 4)
    }


def every_choice(options: Mapping[str, Sequence[Option[int]]]) -> Iterator[dict[str, Option[int]]]:
    for chosen in itertools.product(*options.values()):
        yield dict(zip(options, chosen, strict=True))


def costs_of(chosen: Mapping[str, Option[int]]) -> dict[str, float]:
    return {name: sum(option.costs[name] for option in chosen.values()) for name in ("size", "time")}


def loss_of(chosen: Mapping[str, Option[int]], pairs: Pairs[int]) -> float:
    both = {layer: option.choice for layer, option in chosen.items()}.items()
    return sum(option.loss for option in chosen.values()) + sum(
        loss for (one, two), loss in pairs.items() if one in both and two in both
    )


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("with_groups", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_optimum_is_that_of_all_choices(seed: int, with_groups: bool, with_pairs: bool) -> None:
    generator = random.Random(seed)
    options = random_options(generator, layers=6)
    groups = [("layer0", "layer3", "layer5")] if with_groups else []
    pairs = random_pairs(generator, options) if with_pairs else {}
    grouped = [
        chosen
        for chosen in every_choice(options)
        if all(len({chosen[layer].choice for layer in group}) == 1 for group in groups)
    ]
    budgets = costs_of(generator.choice(grouped))  # one choice at least is within, and meets them exactly
    allowed = [chosen for chosen in grouped if all(cost <= budgets[name] for name, cost in costs_of(chosen).items())]
    found = allocate(options, budgets, groups, pairs)
    chosen = {layer: next(each for each in own if each.choice == found[layer]) for layer, own in options.items()}
    assert chosen in allowed
    assert loss_of(chosen, pairs) == pytest.approx(min(loss_of(each, pairs) for each in allowed), abs=1e-6)


def test_instances_leave_something_to_choose() -> None:
    """Negative control of the test above: budgets bind, groups and pairs change what is best."""
    generator = random.Random(0)
    options = random_options(generator, layers=6)
    pairs = random_pairs(generator, options)
    free = allocate(options, {})
    assert free == {layer: min(own, key=lambda option: option.loss).choice for layer, own in options.items()}
    size = sum(min(option.costs["size"] for option in own) for own in options.values())
    assert allocate(options, {"size": size + 5}) != free
    assert any(
        allocate(options, budget, (), pairs) != allocate(options, budget) for budget in ({}, {"size": size + 20})
    )


def test_budget_may_be_met_exactly() -> None:
    options = {"a": [Option(8, 0.0, {"size": 400_000}), Option(4, 1.0, {"size": 200_000})]}
    assert allocate(options, {"size": 400_000}) == {"a": 8}
    assert allocate(options, {"size": 399_999}) == allocate(options, {"size": 200_000}) == {"a": 4}


def test_layers_without_a_choice_in_common_are_given_what_both_have() -> None:
    options = {
        "a": [Option(8, 0.0, {}), Option(4, 1.0, {})],
        "b": [Option(2, 0.0, {}), Option(4, 1.0, {})],
    }
    assert allocate(options, {}) == {"a": 8, "b": 2}
    assert allocate(options, {}, [("a", "b")]) == {"a": 4, "b": 4}


def test_budget_that_holds_nothing_is_refused_with_the_smallest_possible() -> None:
    options = {
        name: [Option(8, 0.0, {"size": 8, "time": 1}), Option(4, 1.0, {"size": 4, "time": 3})] for name in ("a", "b")
    }
    with pytest.raises(UserError) as refusal:
        allocate(options, {"size": 7, "time": 100})
    assert str(refusal.value) == "size: 7 holds no choice; smallest possible: 8"
    with pytest.raises(UserError) as refusal:
        allocate(options, {"size": 12, "time": 3})
    assert str(refusal.value) == "time: 3 holds no choice beside size; smallest possible: 4"


TABLE = pd.DataFrame(
    {
        "layer": ["a", "b", "c", "d"],
        "gain": [3.0, 2.0, 2.0, -1.0],
        "parameters": [60, 30, 40, 1],
        "seconds": [2.0, 1.0, 1.5, 0.1],
    }
)


@pytest.mark.parametrize(
    ("budgets", "chosen"),
    [
        ({"parameters": 100}, ["a", "c"]),
        ({"parameters": 70}, ["b", "c"]),
        ({"parameters": 70, "seconds": 2.0}, ["a"]),
        ({"parameters": 29}, []),
        ({"parameters": 1000}, ["a", "b", "c"]),
    ],
)
def test_retrained_layers_win_most_within_the_budgets(budgets: dict[str, float], chosen: list[str]) -> None:
    assert choose_retrained(TABLE, "gain", budgets) == chosen


def test_retraining_budget_that_holds_no_layer_is_refused() -> None:
    with pytest.raises(UserError) as refusal:
        choose_retrained(TABLE[:3], "gain", {"parameters": 29})
    assert str(refusal.value) == "parameters: 29 holds no layer; smallest possible: 30"
    with pytest.raises(UserError, match=r"^seconds: 0\.5 holds no layer; smallest possible: 1$"):
        choose_retrained(TABLE[:3], "gain", {"parameters": 35, "seconds": 0.5})
