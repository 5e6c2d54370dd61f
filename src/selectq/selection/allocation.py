"""An option for each layer under budgets: bits, or frozen and retrained; an integer linear program."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array

from selectq.errors import UserError

Choice = TypeVar("Choice", bound=Hashable)

FROZEN, RETRAINED = "frozen", "retrained"

ROUGH = 0.001
"""Of a sum of scores, which are far rougher: to find the last thousandth of a sum of sizes takes up to 20 seconds."""


@dataclass(frozen=True)
class Option(Generic[Choice]):
    """What a layer may be given: the loss that it adds, and what it costs by the names of budgets."""

    choice: Choice
    loss: float
    costs: Mapping[str, float]


Pairs = Mapping[tuple[tuple[str, Choice], tuple[str, Choice]], float]
"""Two layers with their choices -> what they lose together beyond the sum of both."""


def allocate(
    options: Mapping[str, Sequence[Option[Choice]]],
    budgets: Mapping[str, float],
    together: Iterable[Sequence[str]] = (),
    pairs: Pairs[Choice] | None = None,
    tolerance: float = 0.0,
) -> dict[str, Choice]:
    """The choice for each layer with the smallest sum of losses whose sums of costs are within the budgets.

    By HiGHS' branch and bound (`scipy.optimize.milp`). Budgets hold to a millionth.

    Args:
        options: layer -> what it may be given; one of them it gets.
        budgets: name -> the largest sum of the costs of that name.
        together: groups of layers that get the same choice, such as those whose activations share a scale.
        pairs: losses of two layers together, positive or negative; a product of two binary variables each.
        tolerance: 0: the optimum, not an approximation; else a sum that may be off it by this share of itself.

    Raises:
        UserError: a budget is too small for any choice, beside those named before it; says the smallest possible.
    """
    program = _Program(options, together, pairs or {})
    losses = [option.loss for own in options.values() for option in own]
    solution = program.solve([*losses, *(pairs or {}).values()], budgets, tolerance)
    if solution is None:
        _refuse(program, options, budgets)
        raise AssertionError("there are choices within all budgets, and none was found")
    chosen = zip(program.variables, solution, strict=False)
    return {layer: choice for (layer, choice), value in chosen if value}


def _refuse(
    program: "_Program[Choice]", options: Mapping[str, Sequence[Option[Choice]]], budgets: Mapping[str, float]
) -> None:
    """Raise the error that names the first budget that is too small beside those before it."""
    held: dict[str, float] = {}
    for name, budget in budgets.items():
        costs = [option.costs[name] for own in options.values() for option in own]
        solution = program.solve(costs, held)
        assert solution is not None, "layers that go together have no choice in common"
        smallest = float(np.dot(costs, solution[: len(costs)]))
        if smallest > budget:
            beside = f" beside {', '.join(held)}" if held else ""
            raise UserError(f"{name}: {budget:,.12g} holds no choice{beside}; smallest possible: {smallest:,.12g}")
        held[name] = budget


@dataclass
class _Rows:
    """Rows of a matrix, each `low <= row · x <= high`."""

    rows: list[dict[int, float]] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, row: dict[int, float], low: float, high: float) -> None:
        """One more."""
        self.rows.append(row)
        self.low.append(low)
        self.high.append(high)

    def constraint(self, columns: int) -> LinearConstraint:
        """All of them, for so many variables."""
        starts = np.cumsum([0, *map(len, self.rows)])
        indices, values = [index for row in self.rows for index in row], [v for row in self.rows for v in row.values()]
        return LinearConstraint(csr_array((values, indices, starts), (len(self.rows), columns)), self.low, self.high)


class _Program(Generic[Choice]):
    """Binary variables, one for each layer's option, in the order of `variables`; then one for each pair."""

    def __init__(
        self,
        options: Mapping[str, Sequence[Option[Choice]]],
        together: Iterable[Sequence[str]],
        pairs: Pairs[Choice],
    ) -> None:
        every = [(layer, option) for layer, own in options.items() for option in own]
        self.variables = {(layer, option.choice): index for index, (layer, option) in enumerate(every)}
        self._options = [option for _, option in every]
        self._count = len(every) + len(pairs)
        self._rows = _Rows()
        for layer, own in options.items():
            self._rows.add({self.variables[layer, option.choice]: 1.0 for option in own}, 1, 1)
        for first, *others in together:
            for other in others:
                self._join(options, first, other)
        for index, (one, two) in enumerate(pairs, start=len(every)):  # index is 1 where both are, and 0 elsewhere
            self._rows.add({index: 1.0, self.variables[one]: -1.0}, -1, 0)
            self._rows.add({index: 1.0, self.variables[two]: -1.0}, -1, 0)
            self._rows.add({index: 1.0, self.variables[one]: -1.0, self.variables[two]: -1.0}, -1, 1)

    def _join(self, options: Mapping[str, Sequence[Option[Choice]]], one: str, other: str) -> None:
        for choice in dict.fromkeys(option.choice for layer in (one, other) for option in options[layer]):
            signs = {(one, choice): 1.0, (other, choice): -1.0}
            row = {self.variables[key]: sign for key, sign in signs.items() if key in self.variables}
            self._rows.add(row, 0, 0)

    def solve(
        self, objective: Sequence[float], budgets: Mapping[str, float], tolerance: float = 0.0
    ) -> NDArray[np.float64] | None:
        """Zeros and ones that make `objective` smallest; missing coefficients are 0. None: no choice is within."""
        coefficients = np.zeros(self._count)
        coefficients[: len(objective)] = objective
        largest = np.abs(coefficients).max()
        limits = _Rows(list(self._rows.rows), list(self._rows.low), list(self._rows.high))
        for name, budget in budgets.items():
            costs = [option.costs[name] for option in self._options]
            unit = max(map(abs, costs)) or 1.0  # the solver's tolerances are absolute
            limits.add({index: cost / unit for index, cost in enumerate(costs)}, -np.inf, budget / unit)
        found = milp(
            coefficients / (largest or 1.0),
            integrality=np.arange(self._count) < len(self.variables),  # products follow
            bounds=(0, 1),
            constraints=limits.constraint(self._count),
            options={"mip_rel_gap": tolerance},
        )
        assert found.status in (0, 2), found.message
        return None if found.x is None else found.x.round()


def choose_retrained(table: pd.DataFrame, score: str, budgets: Mapping[str, float]) -> list[str]:
    """The layers to retrain, in network order: those with the largest sum of scores within budgets, to a thousandth.

    Args:
        table: of `retraining_scores`; perhaps with more columns, such as measured seconds.
        score: the column that is won where a layer is retrained; what is not positive is never worth it.
        budgets: column -> the largest sum over the layers retrained.

    Raises:
        UserError: no single layer is within a budget, beside those named before it; says the smallest.
    """
    fitting = table
    for name, budget in budgets.items():
        smallest = fitting[name].min()
        fitting = fitting[fitting[name] <= budget]
        if fitting.empty:
            raise UserError(f"{name}: {budget:,.12g} holds no layer; smallest possible: {smallest:,.12g}")
    frozen = Option(FROZEN, 0.0, dict.fromkeys(budgets, 0.0))
    options = {
        row["layer"]: [frozen, Option(RETRAINED, -row[score], {name: row[name] for name in budgets})]
        for row in table.to_dict("records")
    }
    return [layer for layer, choice in allocate(options, budgets, tolerance=ROUGH).items() if choice == RETRAINED]
