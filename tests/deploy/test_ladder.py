"""The ladder: what it asks of the images, the order of its rungs, where it stops, and that what is frozen stays."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_networks import CLASSES, model_config, same_tensors
from torch import nn

from selectq.cli.quantize import RATES
from selectq.config.configs import Goal
from selectq.config.planned import Planned
from selectq.data.evaluate import predict_logits
from selectq.data.packed import Dataset, Split
from selectq.deploy import ladder
from selectq.deploy.candidates import candidates, fp32_forward, scheme_of
from selectq.deploy.ladder import Ladder, require_training_images
from selectq.errors import UserError
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.quantization.network import Network
from selectq.quantization.scopes import parameters_in_scope, quantizers_in_scope
from selectq.selection import ladder as shared
from selectq.selection.ladder import Climbed, Rung, climb
from selectq.selection.plan import Plan
from selectq.selection.retraining import share_pct
from selectq.selection.trial import Candidate, Trial, Tried
from selectq.statistics.paired import Paired, score_interval
from selectq.training.parallel import ALONE
from selectq.training.qat import Retraining, carry_out, retrain
from selectq.training.resume import TrainingState, Unsaved

SIZE = 8
EASY, HARD = (8, 8), (2, 2)
CONFIDENCE = 0.95


def goal(max_loss: float, budgets: tuple[float, ...] = (), epochs: int = 1) -> Goal:
    return Goal(max_loss, budgets, "parameters", "gain", epochs, tuple(RATES))


OUT_OF_REACH = goal(2.0, (100.0, 15.0, 60.0), 6)


def faint(count: int, seed: int) -> Split:
    """Noise in which the channel of an image's class is hardly brighter: few codes do not tell."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(count) % len(CLASSES)
    images = torch.randint(0, 160, (count, len(CLASSES), SIZE, SIZE), generator=generator)
    images[torch.arange(count), labels] += 15
    return Split(images.to(torch.uint8), labels)


def dataset(train: int = 960, validation: int = 240) -> Dataset:
    return Dataset(faint(train, 0), faint(validation, 1), faint(12, 2), CLASSES, {"name": "faint", "source": "noise"})


@functools.cache
def fp32() -> Fp32Checkpoint:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)),
    )
    optimizer, split = torch.optim.Adam(model.parameters(), 0.02), faint(600, 7)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(split.normalization(split.images)), split.labels).backward()
        optimizer.step()
    return Fp32Checkpoint(model.eval(), model_config(), CLASSES)


def trial(images: Dataset | None = None) -> Trial:
    images = images or dataset()
    logits = predict_logits(fp32_forward(fp32().model, torch.device("cpu")), images.validation, "FP32")
    return Trial(fp32(), images, logits, 0, CONFIDENCE)


def climbed(widths: tuple[int, int], asked: Goal, images: Dataset | None = None) -> tuple[Climbed, Plan]:
    where = trial(images)
    steps = Ladder(where, asked)
    found = climb(steps.rungs(candidates(48, False, scheme_of(*widths))), asked, lambda rung: None)
    return found, Plan(where, asked, found, steps.start, steps.scores)


@functools.cache
def to_the_top() -> tuple[Climbed, Plan]:
    """Without learned rounding, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "LEARNED_ROUNDING", {})
        return climbed(HARD, OUT_OF_REACH)


@pytest.mark.parametrize("loss", [0.1, 0.5, 2.0, 7.0, 60.0])
def test_fewest_images_are_as_many_as_no_difference_needs(loss: float) -> None:
    fewest = goal(loss).fewest_images(CONFIDENCE)
    low, lower = (score_interval(Paired(images, 0, 0), 0.95)[0] for images in (fewest, fewest - 1))
    assert lower <= -loss < low


def test_too_few_images_are_refused_with_how_many_would_do() -> None:
    goal(7.0).require_images(52, CONFIDENCE)
    with pytest.raises(UserError) as refusal:
        goal(7.0).require_images(51, CONFIDENCE)
    key = "plan.max_loss_points: 7 points"
    assert str(refusal.value) == f"{key} cannot be shown on 51 validation images; 52 would do if no prediction changes"
    with pytest.raises(UserError, match=r"^--retrain: 31 training images are too few; allowed: 32 or more$"):
        require_training_images(dataset(train=31))


def test_nothing_is_retrained_and_no_gradient_computed_where_quantization_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ladder, "retraining_scores", None)
    monkeypatch.setattr(shared, "retrain_quantized", None)
    found, plan = climbed(EASY, OUT_OF_REACH)
    assert [rung.name for rung in found.rungs] == ["min-max"] and found.met and plan.scores is None
    assert plan.reason == "the goal is met by: min-max; nothing is retrained" and plan.won is None
    assert {each["choice"] for each in plan.layers()} == {"frozen"}
    assert [*plan.planned.entries()] == ["ptq"]


def test_rungs_come_from_the_cheapest_to_the_dearest() -> None:
    (found, _), model = to_the_top(), fp32()
    names = ["min-max", "least squared error", "equalized, bias corrected"]
    assert [rung.name for rung in found.rungs[:3]] == names
    retrained = found.rungs[3:]
    for rung, budget in zip(retrained, sorted(OUT_OF_REACH.budgets_pct), strict=True):
        retraining = rung.candidate.retraining
        assert retraining is not None and retraining.config.epochs == 6
        many, rate = "s" * (len(rung.layers) > 1), retraining.config.lr
        assert rung.name == f"{len(rung.layers)} layer{many} retrained, rate {rate:g}"
        assert rung.share == share_pct(model.model, model.graph, retraining.config.scope) <= budget
    assert retrained[-1].share == 100 and len(retrained[-1].layers) == 4


def test_learned_rounding_comes_behind_all_others_but_bias_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    quantize, shown = Trial.quantize, list[Rung]()

    def without_learning(self: Trial, candidate: Candidate) -> Tried:
        algorithms = tuple(name for name in candidate.config.algorithms if name not in ladder.LEARNED_ROUNDING)
        config = dataclasses.replace(candidate.config, algorithms=algorithms)
        return dataclasses.replace(quantize(self, Candidate(candidate.name, config)), candidate=candidate)

    monkeypatch.setattr(Trial, "quantize", without_learning)
    monkeypatch.setattr(ladder, "retraining_scores", None)
    with pytest.raises(TypeError):  # where gradients would be
        climb(Ladder(trial(), OUT_OF_REACH).rungs(candidates(48, False, scheme_of(*HARD))), OUT_OF_REACH, shown.append)
    best = max(shown[:3], key=lambda rung: rung.top1).candidate.config
    assert best.algorithms == ("zero_dead_channels", "equalize", "correct_bias")
    for rung, name in zip(shown[3:], ladder.LEARNED_ROUNDING, strict=True):
        assert rung.candidate.config == dataclasses.replace(best, algorithms=("zero_dead_channels", "equalize", name))


def test_goal_that_nothing_reaches_gives_the_best() -> None:
    found, _ = to_the_top()
    assert not found.met and found.chosen.gap.points == max(rung.gap.points for rung in found.rungs)
    assert found.chosen.gap.low <= -OUT_OF_REACH.max_loss_points


def test_first_rung_that_is_enough_is_the_last() -> None:
    best = max(to_the_top()[0].rungs, key=lambda rung: rung.gap.low)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "LEARNED_ROUNDING", {})
        enough = goal(-best.gap.low + 0.01, OUT_OF_REACH.budgets_pct, OUT_OF_REACH.epochs)
        found, _ = climbed(HARD, enough)
    assert found.met and found.chosen is found.rungs[-1] and found.chosen.name == best.name
    assert all(rung.gap.low <= -enough.max_loss_points for rung in found.rungs[:-1])


def test_what_is_frozen_keeps_every_bit() -> None:
    found, plan = to_the_top()
    assert plan.start is not None and plan.start.network is not None
    before, model = plan.start.network, fp32().model
    for rung in found.rungs[3:]:
        retraining = rung.candidate.retraining
        assert retraining is not None and rung.network is not None
        scope = parameters_in_scope(model, retraining.config.scope)
        assert changed(before, rung.network) == expected(before, scope)
        for one, other in zip(before.sites(), rung.network.sites(), strict=True):
            assert same_tensors_of(one.activation, other.activation, "low", "high"), one.name
    assert plan.start.network is before, "each starts from the quantized network, not from the one before"


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("range_epochs", [0.0, 1.5])
def test_what_is_frozen_keeps_every_bit_where_training_was_killed_and_goes_on(
    range_epochs: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, plan = to_the_top()
    rung, save = found.rungs[3], TrainingState.save
    assert rung.candidate.retraining is not None and plan.start is not None and plan.start.network is not None
    config = rung.candidate.retraining.config
    training = dataclasses.replace(rung.candidate.retraining.training, range_epochs=range_epochs)

    def go_on() -> Network:
        state = TrainingState(Path("models/auto.safetensors"), "key")
        network, history = carry_out(Planned(config, training), fp32(), dataset(), 0, state, workers=ALONE)
        assert len(history) == 2 * config.epochs
        return network

    def killed(self: TrainingState, network: Network, optimizer: Any, history: list[Any]) -> None:
        save(self, network, optimizer, history)
        if len(history) == 4:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", killed)
        with pytest.raises(KilledError):
            go_on()
    network, before = go_on(), plan.start.network
    assert changed(before, network) == expected(before, parameters_in_scope(fp32().model, config.scope))
    following = {id(quantizer) for quantizer in quantizers_in_scope(network)}
    followed = 0
    for one, other in zip(before.sites(), network.sites(), strict=True):
        kept = same_tensors_of(one.activation, other.activation, "low", "high")
        assert kept or id(other.activation) in following, one.name
        followed += not kept
    assert (followed > 0) == (range_epochs > 0) and followed < len(list(before.sites()))
    assert range_epochs or same_tensors(network, rung.network), "and is what it would be"


def changed(before: Network, after: Network) -> set[str]:
    return {
        f"{one.name}.{part}"
        for one, other in zip(before.layers(), after.layers(), strict=True)
        for part in ("weight", "bias")
        if not torch.equal(getattr(one, part), getattr(other, part))
    }


def expected(network: Network, scope: frozenset[str]) -> set[str]:
    return {
        f"{layer.name}.{part}"
        for layer in network.layers()
        for part in ("weight", "bias")
        if not scope.isdisjoint(layer.sources[part])
    }


def same_tensors_of(one: Any, other: Any, *names: str) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_every_set_is_tried_at_the_same_rates_and_trained_at_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list[tuple[tuple[str, ...], int, float]]()

    def pretended(
        network: Network, scope: frozenset[str], retraining: Retraining, *_: object
    ) -> list[dict[str, float]]:
        config = retraining.config
        runs.append((config.scope, config.epochs, config.lr))
        best = RATES[len({scope for scope, *_ in runs}) - 1]  # another one for every set
        return [{"loss": 0.0}, {"loss": abs(config.lr - best)}]

    monkeypatch.setattr(ladder, "LEARNED_ROUNDING", {})
    monkeypatch.setattr(shared, "retrain_quantized", pretended)
    found, plan = climbed(HARD, OUT_OF_REACH)
    scopes = list(dict.fromkeys(scope for scope, *_ in runs))
    assert len(scopes) == 3
    of_each = [[(scope, 1, rate) for rate in RATES] + [(scope, 6, RATES[index])] for index, scope in enumerate(scopes)]
    assert runs == [run for each in of_each for run in each]
    assert plan.start is not None and same_tensors(found.rungs[-1].network, plan.start.network)


def test_test_images_decide_nothing() -> None:
    images = dataset()
    other = Dataset(images.train, images.validation, faint(12, 99), images.classes, images.origin)
    other.test.labels[:] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "LEARNED_ROUNDING", {})
        found, _ = climbed(HARD, OUT_OF_REACH, other)
    expected, _ = to_the_top()
    assert [(rung.layers, rung.gap) for rung in found.rungs] == [(rung.layers, rung.gap) for rung in expected.rungs]
    assert same_tensors(found.chosen.network, expected.chosen.network)


def test_what_is_missing_is_told_in_points_or_in_images() -> None:
    found, plan = to_the_top()
    lost, images = -found.chosen.gap.points, len(dataset().validation)
    loses = dataclasses.replace(plan, goal=goal(lost / 2)).reason
    assert loses.endswith(f"loses {lost:.2f} points where {lost / 2:g} may be lost")
    open_yet = dataclasses.replace(plan, goal=goal(lost + 1)).reason
    needed = int(open_yet.rpartition("about ")[2].partition(" ")[0].replace(",", ""))
    assert needed > images
    right = found.chosen.right
    only = [int((one & ~other).sum()) for one, other in ((right, trial().fp32_right), (trial().fp32_right, right))]
    scale = needed / images
    pair = Paired(needed, round(scale * only[0]), round(scale * only[1]))
    assert score_interval(pair, 0.95)[0] == pytest.approx(-(lost + 1), abs=0.3)
    assert OUT_OF_REACH.max_loss_points < -found.chosen.gap.low


def test_plan_tells_layers_gains_and_a_configuration_that_names_them() -> None:
    found, plan = to_the_top()
    content = plan.to_json()
    assert [rung["gap_low"] for rung in content["rungs"]] == [round(rung.gap.low, 4) for rung in found.rungs]
    assert {each["layer"] for each in content["layers"] if each["choice"] == "retrained"} == set(found.chosen.layers)
    assert plan.scores is not None and plan.start is not None
    gains = [each["expected_gain"] for each in content["layers"]]
    assert gains == pytest.approx(plan.scores["gain"].tolist(), rel=1e-5)
    assert content["chosen"]["won_points"] == pytest.approx(found.chosen.top1 - plan.start.top1, abs=1e-3)
    retraining = found.chosen.candidate.retraining
    assert retraining is not None
    assert content["configuration"]["qat"]["planned"]["scope"] == list(retraining.config.scope)


def test_configuration_of_a_plan_gives_its_network_in_the_pipeline() -> None:
    for rung in to_the_top()[0].rungs[3:]:
        retraining = rung.candidate.retraining
        assert retraining is not None
        network, _ = retrain(retraining, fp32(), dataset(), Unsaved(), ALONE)
        assert same_tensors(network, rung.network)
