"""The benchmark of what is chosen to be retrained: groups, sets within budgets, regret, and that it goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_plan
import pandas as pd
import plan_choice
import pytest
from bench_plan import NETWORKS, SEEDS, Trainings
from plan_choice import GAIN, ORACLE, PARAMETERS, RANDOM
from plan_picture import draw

from selectq.config.load import validate
from selectq.graph.capture import capture
from selectq.networks.build import build_network
from selectq.selection.layers import LAYER_COLUMNS
from selectq.selection.retraining import SHARE
from selectq.selection.sensitivity import RETRAINING_COLUMNS

NAMES = ["stem", "depthwise", "projection 1", "projection 2", "classifier"]
GAINS = [1.0, 5.0, 2.0, 9.0, 0.5]
SHARES = [1.0, 1.5, 4.0, 30.0, 2.0]


def groups_of_five() -> pd.DataFrame:
    """The scores but `gain` are equal for all groups."""
    kinds = [name.split()[0] for name in NAMES]
    scores = dict.fromkeys(RETRAINING_COLUMNS, 1.0) | {"gain": GAINS, SHARE: SHARES, "layers": 1}
    return pd.DataFrame({"layer": NAMES, "kind": kinds, **scores})


def losses() -> dict[str, float]:
    """The stem alone wins; with every other group it loses."""
    return {groups: 1.0 + len(groups) - 20 * (groups == "stem") for groups in plan_choice.subsets(NAMES)}


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_networks_are_valid_and_have_eight_groups(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTQ_DATA", str(bench_plan.NETWORK_FILE.parent))
    model = build_network(validate(bench_plan.parameters(network), network.name).model, 10).eval()
    layers = pd.DataFrame([(node.name, node.kind) for node in capture(model).layers()], columns=LAYER_COLUMNS[:2])
    groups = plan_choice.group_layers(layers)
    assert groups.nunique() == plan_choice.GROUPS and list(groups.index) == list(layers.index)
    for (kind, _), own in layers.groupby(["kind", groups], sort=False):
        inside = layers.loc[own.index[0] : own.index[-1]]
        assert set(own["layer"]) == set(inside.loc[inside["kind"] == kind, "layer"]), "a group is a piece of the depth"


def test_largest_group_is_halved_until_there_are_enough() -> None:
    layers = pd.DataFrame({"layer": range(9), "kind": [*"abcbcbcbb"]}, index=range(10, 19))
    assert list(plan_choice.group_layers(layers, 3)) == [*"abcbcbcbb"]
    assert list(plan_choice.group_layers(layers, 4)) == ["a", "b 1", "c", "b 1", "c", "b 1", "c", "b 2", "b 2"]


def test_scores_and_shares_of_a_group_are_sums() -> None:
    layers = pd.DataFrame({"layer": [*"uvw"], "kind": [*"aba"], SHARE: [1.0, 2.0, 4.0]})
    layers[RETRAINING_COLUMNS] = [[1.0] * 5, [2.0] * 5, [4.0] * 5]
    table = plan_choice.group_table(layers, 2)
    assert list(table["layer"]) == ["a", "b"] and list(table["layers"]) == [2, 1]
    assert list(table[SHARE]) == [5, 2] and list(table["gain"]) == [5, 2]


def test_what_a_budget_holds() -> None:
    table = groups_of_five()
    every = plan_choice.subsets(NAMES)
    assert len(set(every)) == 32 and every[0] == "" and every[-1] == "; ".join(NAMES)
    assert plan_choice.cost(table, "") == 0 and plan_choice.cost(table, "stem; projection 1") == 5
    assert plan_choice.budgets(table) == [2.0, 5.0, 10.0, 25.0, 46.51]
    assert plan_choice.budgets(table.assign(**{SHARE: [3.0, 6, 6, 6, 6]})) == [10.0, 25.0, 46.51]


def test_what_each_selector_takes() -> None:
    table = groups_of_five()
    found = plan_choice.choices(table, 5.0, losses())
    assert found[GAIN] == ["stem; depthwise; classifier"], "6.5 of gain at 4.5 %"
    assert found[PARAMETERS] == ["stem; projection 1"] and found[ORACLE] == ["stem"]
    assert plan_choice.DWPW not in found
    fitting = {groups for groups in losses() if plan_choice.cost(table, groups) <= 5}
    assert len(found[RANDOM]) == plan_choice.RANDOM_SETS and len(set(found[RANDOM])) > 1
    for groups in found[RANDOM]:
        left = [share for name, share in zip(NAMES, SHARES, strict=True) if name not in groups]
        assert groups in fitting and plan_choice.cost(table, groups) + min(left) > 5, "room for one more"
    wide = plan_choice.choices(table, 46.51, losses())
    assert wide[plan_choice.DWPW] == ["depthwise; projection 1; projection 2; classifier"]
    assert plan_choice.choices(table, 46.51, dict.fromkeys(losses(), 1.0))[ORACLE] == [""], "to retrain nothing"


def measured_rows() -> pd.DataFrame:
    """Of one case and budget, two seeds: selector -> top-1 and loss."""
    values = {GAIN: [(90, 0.4), (92, 0.2)], RANDOM: [(88, 0.5), (90, 0.5)], ORACLE: [(93, 0.1), (93, 0.3)]}
    values[PARAMETERS] = values[GAIN]
    rows = [(selector, seed, top1, loss) for selector, each in values.items() for seed, (top1, loss) in enumerate(each)]
    table = pd.DataFrame(rows, columns=["selector", "seed", "top1", "loss"])
    return table.assign(network="some", setting="W4A4", budget_pct=5.0, cost_pct=4.5)


def gained() -> pd.DataFrame:
    """Groups of one case; `gain` ranks them as the losses won do, the number of parameters the other way round."""
    table = groups_of_five().assign(network="some", setting="W4A4", loss_gain=GAINS, average_gain=[1.0, 2, 3, 4, 5])
    return table.assign(**{SHARE: [-gain for gain in GAINS], "drift": [1.0, 2, 3, 4, 5]})


def test_regret_is_what_is_missed_beside_the_oracle() -> None:
    table = plan_choice.by_budget(plan_choice.with_regret(measured_rows())).set_index("selector")
    assert list(table.loc[GAIN, ["top1", "loss", "regret_points", "regret_loss"]]) == [91, 0.3, 2, 0.1]
    assert list(table.loc[ORACLE, ["regret_points", "regret_loss", "cost_pct", "seeds"]]) == [0, 0, 4.5, 2]


def test_selectors_beside_the_plan() -> None:
    table = plan_choice.by_selector(plan_choice.with_regret(measured_rows()), gained()).set_index("selector")
    assert table.index[0] == ORACLE, "the smallest regret first"
    assert table.loc[RANDOM, "worse_loss"] == 0.2 and table.loc[ORACLE, "worse_loss"] == -0.1
    assert table.loc[GAIN, "spearman_alone"] == pytest.approx(1) and table["p"].isna()[GAIN]
    assert table.loc[RANDOM, "p"] == 0.5 and table.loc[RANDOM, "holm_p"] == 1, "two seeds, three rivals"
    assert table.loc[PARAMETERS, "p"] == 1, "no difference"
    assert table.loc[GAIN, "spearman_average"] == pytest.approx(-0.1)
    assert table.loc[PARAMETERS, "spearman_alone"] == pytest.approx(-1)


def test_selector_rows_are_means_over_its_sets() -> None:
    table = groups_of_five()
    rows = [(groups, seed, loss, 50.0 + seed) for groups, loss in losses().items() for seed in (1, 2)]
    measured = pd.DataFrame(rows, columns=["groups", "seed", "loss", "top1"])
    found = plan_choice.selector_rows(table, measured, losses()).set_index(["budget_pct", "selector", "seed"])
    sets = plan_choice.choices(table, 5.0, losses())[RANDOM]
    expected = sum(losses()[groups] for groups in sets) / len(sets)
    assert found["loss"][5.0, RANDOM, 1] == pytest.approx(expected)
    assert found["top1"][5.0, GAIN, 2] == 52 and found["cost_pct"][5.0, GAIN, 2] == 4.5


def test_smoothing_keeps_groups_and_pairs_and_spreads_the_rest() -> None:
    """The average effect of a group stays."""
    every = plan_choice.subsets([*"abc"])
    pairs = dict(zip(every, [1.0, 2, 4, 3, 9, 5, 6, 1], strict=True))
    excess = pairs["a; b; c"] - plan_choice.smoothed(pairs)["a; b; c"]
    exact = pairs | {"a; b; c": pairs["a; b; c"] - 8 * excess}
    assert excess == pytest.approx(0.125) and plan_choice.smoothed(exact) == pytest.approx(exact)
    for name in "abc":
        assert plan_choice.average_gain(plan_choice.smoothed(pairs), name) == pytest.approx(
            plan_choice.average_gain(pairs, name)
        )
    assert plan_choice.average_gain(pairs, "a") == (1 + 2 + 4 + 3 - 9 - 5 - 6 - 1) / 4


def test_learning_rate_follows_the_gradient() -> None:
    table = groups_of_five().assign(gradient=[0.0, 100.0, 300.0, 1.0, 1.0])
    assert plan_choice.learning_rate(table, "depthwise; projection 1", 0.2) == 0.0005
    assert plan_choice.learning_rate(table, "depthwise", 2.0) == plan_choice.LARGEST_RATE
    assert plan_choice.learning_rate(table, "", 2.0) == plan_choice.learning_rate(table, "stem", 2.0) == 0


class FakeCase(SimpleNamespace):
    """Trains in no time: what a set loses is known."""

    def train(self, groups: str, rate: float, seed: int) -> dict[str, float]:
        self.asked.append((groups, rate, seed))
        return {"validation_loss": losses()[groups] - 100 * rate, "loss": losses()[groups], "top1": 50.0}


def test_every_set_is_trained_once_and_the_chosen_ones_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["stem", "depthwise", "projection 2"]
    table = groups_of_five().query(f"layer in {few}").assign(gradient=1000.0)
    case: Any = FakeCase(asked=[], groups=table, kept=tmp_path / "trained.csv")
    bench_plan.measure(case, "some")
    assert len(case.asked) == len(set(case.asked)), "twice"
    known = {groups: losses()[groups] for groups in plan_choice.subsets(few)}
    explored = {groups: seed for groups, _, seed in case.asked if seed not in SEEDS}
    assert explored.keys() == known.keys() and len(set(explored.values())) == len(known), "a seed each"
    taken = {"", *few, "stem; depthwise", "depthwise; projection 2", "; ".join(few)}
    for again in SEEDS:
        assert {groups for groups, _, seed in case.asked if seed == again} == taken
    assert ("stem", 0.002, SEEDS[0]) in case.asked, "the rate that left the smallest validation loss"
    asked = list(case.asked)
    trainings, found = bench_plan.measure(case, "some")
    assert case.asked == asked, "read from the file"
    assert len(Trainings(case).table) == len(asked) and found == plan_choice.smoothed(known)

    reported = trainings.table.query(f"seed in {SEEDS}")
    gains = bench_plan.with_gains(case.groups, reported, found).set_index("layer")
    assert gains["loss_gain"].to_list() == [1 - losses()[name] for name in few] and set(gains["top1_gain"]) == {0}
    assert gains["average_gain"].to_list() == pytest.approx([plan_choice.average_gain(known, name) for name in few])
    rows = plan_choice.selector_rows(table, reported, found)
    assert rows["loss"].notna().all()
    named = plan_choice.by_budget(plan_choice.with_regret(rows.assign(network="some", setting="W4A4")))
    draw(named, "a machine", tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
