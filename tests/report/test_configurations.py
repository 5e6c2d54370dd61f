"""Configurations: order, scopes as text, and what makes two experiments the same."""

import dataclasses

import pytest

from selectq.config.configs import Params, WeightScheme
from selectq.config.configurations import Configuration, Experiment, list_configurations, write_scope
from selectq.report.paper import read_paper
from selectq.report.wording import shorten_bits, shorten_scope


def test_ptq_comes_first_and_each_keeps_its_order(configurations: list[Configuration]) -> None:
    assert [configuration.name for configuration in configurations] == [
        "tensor",
        "channel",
        "full",
        "dwpw",
        "dwpw_asym",
        "mine",
    ]
    assert [configuration.method for configuration in configurations] == ["ptq"] * 2 + ["qat"] * 4
    assert [configuration.epochs for configuration in configurations] == [0, 0, 3, 3, 3, 3]


def test_experiment_holds_scope_and_scheme(configurations: list[Configuration]) -> None:
    experiments = {configuration.name: configuration.experiment for configuration in configurations}
    assert experiments["tensor"] == Experiment("none", "8", "tensor", "8", "asymmetric")
    assert experiments["dwpw"] == Experiment("depthwise + projection + classifier", "8", "channel", "8", "symmetric")
    assert experiments["mine"] == Experiment("features.14", "4", "channel", "8", "symmetric")


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (("classifier", "depthwise"), "depthwise + classifier"),
        (("depthwise", "classifier", "depthwise"), "depthwise + classifier"),
        (("features.9", "head", "features.10"), "head + features.10 + features.9"),
        (("stem", "all"), "all"),
    ],
)
def test_same_layers_are_the_same_text(scope: tuple[str, ...], text: str) -> None:
    assert write_scope(scope) == text


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (("all",), "all"),
        (("projection", "classifier"), "projection + classifier"),
        (("features.2.conv.2", "features.14"), "features.14 + features.2.conv.2"),
        (("classifier", *(f"features.{index}" for index in range(4))), "4 layers + classifier"),
        (("classifier.1", *(f"features.{index}.conv" for index in range(2, 5))), "4 layers"),
    ],
)
def test_many_modules_are_counted_for_readers(scope: tuple[str, ...], text: str) -> None:
    assert shorten_scope(write_scope(scope)) == text


def test_algorithms_ptq_is_another_experiment_than_the_plain_one(params: Params) -> None:
    plain = params.ptq["tensor"]
    algorithms = dataclasses.replace(plain, algorithms=("correct_bias", "equalize"))
    experiments = [each.experiment for each in list_configurations({"plain": plain, "algorithms": algorithms}, {}, ())]
    assert [experiment.scope for experiment in experiments] == ["none", "none; equalize + correct_bias"]
    assert [read_paper().beside(experiment).int8_top1 for experiment in experiments] == [44.18, None]


def test_no_configurations(params: Params) -> None:
    assert list_configurations({}, {}, ()) == []
    assert [each.name for each in list_configurations(params.ptq, {}, ())] == ["tensor", "channel"]


def test_algorithms_before_retraining_are_part_of_the_experiment(params: Params) -> None:
    (each,) = list_configurations({}, {"dwpw_asym": params.qat["dwpw_asym"]}, ("correct_bias", "equalize"))
    assert each.experiment.scope == "depthwise + projection + classifier; equalize + correct_bias"
    assert read_paper().beside(each.experiment).int8_top1 is None


def test_widths_of_single_kinds_are_part_of_the_experiment(params: Params) -> None:
    dwpw = params.qat["dwpw_asym"]
    mixed = dataclasses.replace(dwpw, weights=WeightScheme({"all": 4, "stem": 8}, "channel"))
    narrow = dataclasses.replace(dwpw, weights=WeightScheme(4, "channel"))
    of_mixed, of_narrow = (each.experiment for each in list_configurations({}, {"mixed": mixed, "narrow": narrow}, ()))
    assert (of_mixed.weight_bits, of_narrow.weight_bits) == ("4 (8: stem)", "4")
    assert dataclasses.replace(of_mixed, weight_bits="4") == of_narrow


def test_different_sets_of_many_layers_are_different_experiments(params: Params) -> None:
    wide = [{"all": 4, "stem": 8, **{f"f.{index}": 8 for index in range(first, first + 12)}} for first in (0, 1)]
    ptq = {
        str(n): dataclasses.replace(params.ptq["channel"], weights=WeightScheme(bits, "channel"))
        for n, bits in enumerate(wide)
    }
    one, other = (each.experiment for each in list_configurations(ptq, {}, ()))
    assert one != other
    assert shorten_bits(one.weight_bits) == shorten_bits(other.weight_bits) == "4 (8: 12 layers, stem)"


@pytest.mark.parametrize("text", ["8", "4 (8: stem, f.1)", "4 (8: stem, f.0, f.1, f.2; 6: pool, head)"])
def test_few_widths_are_spelt_out(text: str) -> None:
    assert shorten_bits(text) == text
