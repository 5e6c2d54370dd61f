"""What must be retrained in each situation: the table of README and of `docs/results.md`."""

from collections.abc import Iterable, Mapping, Sequence

from selectq.claims.measured import Measured, Runs
from selectq.report.formatting import NOTHING, number_columns, text_columns
from selectq.report.markdown import markdown_table
from selectq.statistics.verdicts import Candidate, Gap, Verdict, cheapest_that_keeps_up, judge

COLUMNS = (
    *text_columns("Setting"),
    *number_columns("Plain PTQ, gap"),
    *text_columns("What must be retrained"),
    *number_columns("Gap to FP32, points"),
    *text_columns("Cost"),
)

MOST_NAMED = 3
"""Kinds or layers that a cell names; more are counted."""


def recommendations(runs: Runs, situations: Mapping[str, Iterable[str]]) -> list[str]:
    """The lines of the table: the cheapest configuration that keeps up with FP32, or else the nearest to it.

    `situations` are settings with one FP32 network and equal bit widths, by name: a recommendation is out of all their
    configurations.
    """
    return markdown_table(COLUMNS, [_row(name, [runs[one] for one in of]) for name, of in situations.items()])


def _row(name: str, runs: Sequence[Measured]) -> tuple[str, ...]:
    offered = {run.candidate(config): run for run in runs for config in run.configurations()}
    margin = runs[0].margin
    found = cheapest_that_keeps_up(offered, margin) or max(offered, key=lambda one: one.gap.points)
    plain = [one.gap.points for one in offered if not one.algorithms and not one.retrained_pct]
    return (
        name,
        f"{max(plain):+.2f}" if plain else NOTHING,
        _what(found, offered[found], [judge(one.gap, "keeps up", margin) for one in offered]),
        gap_cell(found.gap),
        _cost(found, offered[found].name(found.name)),
    )


def _what(found: Candidate, run: Measured, verdicts: Sequence[Verdict]) -> str:
    scope = run.scope(found.name)
    named = " + ".join(scope).replace("all", "all layers") if len(scope) <= MOST_NAMED else f"{len(scope)} layers"
    if "holds" in verdicts:
        return named if found.retrained_pct else "nothing"
    nearest = named if found.retrained_pct else "no retraining"
    return f"{'not shown' if 'unclear' in verdicts else 'none tried suffices'}; nearest: {nearest}"


def _cost(found: Candidate, name: str) -> str:
    epochs = f"{found.epochs} epoch{'s' if found.epochs > 1 else ''} of {found.retrained_pct:.0f} % of the parameters"
    training = epochs if found.retrained_pct else "no training"
    algorithms = f", {found.algorithms} PTQ algorithms" if found.algorithms else ""
    return f"{training}{algorithms} (`{name}`)"


def gap_cell(gap: Gap) -> str:
    """A gap with its interval; how many seeds, where there are several."""
    seeds = f", n={gap.seeds}" if gap.seeds > 1 else ""
    return f"{gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]{seeds}"
