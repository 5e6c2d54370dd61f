"""Groups of layers, the sets of them that budgets hold, which of these each selector takes, and what that costs it."""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, compress, product
from statistics import fmean

import numpy as np
import pandas as pd
from scipy.stats import spearmanr, wilcoxon

from selectq.selection.allocation import choose_retrained
from selectq.selection.retraining import SHARE
from selectq.selection.sensitivity import RETRAINING_COLUMNS
from selectq.statistics.paired import holm

GROUPS = 8
BUDGETS = (2.0, 5.0, 10.0, 25.0, 46.51)
"""Percent of the parameters; the last is the share of the paper's `dwpw`."""

GAIN, PARAMETERS, RANDOM, ORACLE, DWPW = "gain", "parameters", "random", "oracle", "dwpw"
SCORES = {column: column for column in RETRAINING_COLUMNS} | {PARAMETERS: SHARE}
"""Selector -> the column whose sum it makes largest."""

LARGEST_RATE = 0.003
"""Beyond, sets whose gradient is small lose too."""

DWPW_KINDS = {"depthwise", "projection", "classifier"}
RANDOM_SETS = 20

Groups = str
"""The names of a set's groups in the network's order, with `BETWEEN` between them; none: an empty one."""

BETWEEN = "; "

CASE = ["network", "setting"]
COLUMNS = [*CASE, "budget_pct", "selector", "top1", "loss", "regret_points", "regret_loss", "cost_pct", "seeds"]
SELECTOR_COLUMNS = [
    "selector",
    "spearman_alone",
    "spearman_average",
    "regret_points",
    "regret_loss",
    "worse_loss",
    "p",
    "holm_p",
    "budgets",
]


def group_layers(layers: pd.DataFrame, count: int = GROUPS) -> pd.Series:
    """The group of each layer: those of a kind, in order of depth halved where they are most, until there are `count`.

    Args:
        layers: columns layer and kind, in order of execution.
        count: at least the number of kinds, at most the number of layers.

    Returns:
        Of the table's index: the kind, with a number behind it where a kind has several groups.
    """
    groups = [list(own) for own in layers.groupby("kind", sort=False).groups.values()]
    while len(groups) < count:
        at = max(range(len(groups)), key=lambda index: len(groups[index]))
        middle = (len(groups[at]) + 1) // 2
        groups[at : at + 1] = [groups[at][:middle], groups[at][middle:]]
    names, kinds = pd.Series(index=layers.index, dtype=str), layers["kind"]
    firsts = [kinds[own[0]] for own in groups]
    for number, (kind, own) in enumerate(zip(firsts, groups, strict=True)):
        names[own] = f"{kind} {firsts[: number + 1].count(kind)}" if firsts.count(kind) > 1 else kind
    return names


def group_table(layers: pd.DataFrame, count: int = GROUPS) -> pd.DataFrame:
    """A row for each group: its name (`layer`, as `choose_retrained` wants it), its kind, sums of scores and shares.

    Args:
        layers: of `retraining_scores`, with the column `SHARE`.
        count: see `group_layers`.
    """
    table = layers.assign(group=group_layers(layers, count)).groupby("group", sort=False)
    sums = table[[*RETRAINING_COLUMNS, SHARE]].sum()
    described = table.agg(kind=("kind", "first"), layers=("layer", "size"))
    return described.join(sums).rename_axis("layer").reset_index()


def subsets(groups: Sequence[str]) -> list[Groups]:
    """All sets of groups, the empty one first."""
    return [BETWEEN.join(compress(groups, bits)) for bits in product((False, True), repeat=len(groups))]


def members(groups: Groups) -> list[str]:
    """The names of a set's groups."""
    return groups.split(BETWEEN) if groups else []


def cost(table: pd.DataFrame, groups: Groups) -> float:
    """Percent of the parameters that a set retrains."""
    return float(table.loc[table["layer"].isin(members(groups)), SHARE].sum())


def smoothed(losses: Mapping[Groups, float]) -> dict[Groups, float]:
    """Least squares of an effect of every group and every pair: most of what a single short training shows is noise.

    Args:
        losses: of all sets.
    """
    names = [groups for groups in losses if len(members(groups)) == 1]
    inside = np.array([[name in members(groups) for name in names] for groups in losses], dtype=float)
    pairs = [inside[:, one] * inside[:, other] for one, other in combinations(range(len(names)), 2)]
    design = np.column_stack([np.ones(len(losses)), inside, *pairs])
    effects = np.linalg.lstsq(design, np.array([*losses.values()]))[0]
    return dict(zip(losses, (design @ effects).tolist(), strict=True))


def average_gain(losses: Mapping[Groups, float], group: str) -> float:
    """By how much less is lost with a group than without it: the mean over all sets of others."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for groups, loss in losses.items():
        sides[group in members(groups)].append(loss)
    return fmean(sides[False]) - fmean(sides[True])


def learning_rate(table: pd.DataFrame, groups: Groups, nats: float) -> float:
    """At which a first step of Adam takes `nats` from the divergence, to first order: it moves every weight by it."""
    steepness = table.loc[table["layer"].isin(members(groups)), "gradient"].sum()
    return min(LARGEST_RATE, round(nats / steepness, 6)) if steepness else 0.0


def budgets(table: pd.DataFrame) -> list[float]:
    """Those with a choice: two groups are within each."""
    return [budget for budget in BUDGETS if (table[SHARE] <= budget).sum() > 1]


def choices(table: pd.DataFrame, budget: float, losses: Mapping[Groups, float]) -> dict[str, list[Groups]]:
    """Selector -> the sets that it takes within the budget: one, or several random ones.

    Args:
        table: of `group_table`.
        budget: percent of the parameters.
        losses: of all sets; the oracle takes the set of the smallest.
    """
    within = [chosen for chosen in losses if cost(table, chosen) <= budget]
    found = {name: [BETWEEN.join(choose_retrained(table, score, {SHARE: budget}))] for name, score in SCORES.items()}
    dwpw = BETWEEN.join(table.loc[table["kind"].isin(DWPW_KINDS), "layer"])
    if "depthwise" in set(table["kind"]) and dwpw in within:
        found[DWPW] = [dwpw]
    found[RANDOM] = [_random_set(table, budget, seed) for seed in range(RANDOM_SETS)]
    return found | {ORACLE: [min(within, key=lambda chosen: losses[chosen])]}


def _random_set(table: pd.DataFrame, budget: float, seed: int) -> Groups:
    """Groups in a random order, each taken that still fits: no other would fit beside them."""
    order, left, chosen = list(zip(table["layer"], table[SHARE], strict=True)), budget, set[str]()
    random.Random(seed).shuffle(order)
    for group, share in order:
        if share <= left:
            left -= share
            chosen.add(group)
    return BETWEEN.join(group for group in table["layer"] if group in chosen)


def selector_rows(table: pd.DataFrame, measured: pd.DataFrame, losses: Mapping[Groups, float]) -> pd.DataFrame:
    """A row for each budget, selector and seed: the means over its sets.

    Args:
        table: of `group_table`.
        measured: columns groups, seed, loss and top1: a row for each seed of every set that a selector takes.
        losses: see `choices`.
    """
    rows = []
    for budget in budgets(table):
        for selector, taken in choices(table, budget, losses).items():
            costs = sum(cost(table, chosen) for chosen in taken) / len(taken)
            own = pd.concat([measured[measured["groups"] == chosen] for chosen in taken])
            means = own.groupby("seed", as_index=False)[["top1", "loss"]].mean()
            rows.append(means.assign(budget_pct=budget, selector=selector, cost_pct=costs))
    return pd.concat(rows, ignore_index=True)


def with_regret(rows: pd.DataFrame) -> pd.DataFrame:
    """Beside the oracle's set of the same case, budget and seed: points of top-1 and nats of loss that are missed."""
    where = [*CASE, "budget_pct", "seed"]
    best = rows[rows["selector"] == ORACLE].set_index(where)[["top1", "loss"]]
    joined = rows.join(best.add_suffix("_best"), on=where)
    return rows.assign(
        regret_points=joined["top1_best"] - joined["top1"], regret_loss=joined["loss"] - joined["loss_best"]
    )


def by_budget(rows: pd.DataFrame) -> pd.DataFrame:
    """The table that is kept: means over seeds; `rows` of `with_regret`."""
    table = rows.groupby([*CASE, "budget_pct", "selector"], sort=False)
    means = table[["top1", "loss", "regret_points", "regret_loss", "cost_pct"]].mean()
    return means.assign(seeds=table["seed"].nunique()).reset_index()[COLUMNS].round(4)


def rank_correlation(groups: pd.DataFrame, score: str, gain: str) -> float:
    """Spearman's, of a score of the groups and what they won: the mean over cases."""
    return fmean(spearmanr(own[score], own[gain]).statistic for _, own in groups.groupby(CASE))


def by_selector(rows: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Each selector over all cases and budgets, and beside `gain`.

    `spearman_alone`, `spearman_average`: of its score and what a group won by itself, and on average among others.
    `worse_loss`: how much larger its loss is than that of `gain`, in nats; `p`: Wilcoxon's, of the differences in each
    case and seed, each the mean over the budgets that both have; `holm_p`: the same corrected for the number of
    selectors.
    """
    where = [*CASE, "budget_pct", "seed"]
    gain = rows[rows["selector"] == GAIN].set_index(where)["loss"].rename("of_gain")
    beside = rows.assign(worse=rows["loss"] - rows.join(gain, on=where)["of_gain"])
    found = []
    for selector, own in beside.groupby("selector", sort=False):
        worse = own.groupby([*CASE, "seed"])["worse"].mean()
        score = SCORES.get(str(selector))
        found.append(
            {
                "selector": selector,
                "spearman_alone": rank_correlation(groups, score, "loss_gain") if score else None,
                "spearman_average": rank_correlation(groups, score, "average_gain") if score else None,
                "regret_points": own["regret_points"].mean(),
                "regret_loss": own["regret_loss"].mean(),
                "worse_loss": worse.mean(),
                "p": _sign_rank_p(worse) if selector != GAIN else None,
                "budgets": own.groupby([*CASE, "budget_pct"]).ngroups,
            }
        )
    table = pd.DataFrame(found)
    rivals = table["p"].notna()
    table.loc[rivals, "holm_p"] = holm(table.loc[rivals, "p"].to_list())
    return table[SELECTOR_COLUMNS].sort_values("regret_loss").round(4)


def _sign_rank_p(differences: Iterable[float]) -> float:
    """1 where there is no difference at all."""
    values = [value for value in differences if value]
    return float(wilcoxon(values).pvalue) if values else 1.0
