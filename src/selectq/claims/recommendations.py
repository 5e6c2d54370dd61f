"""What must be retrained in each setting: the table of README and of `docs/results.md`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from selectq.claims.settings import (
    CLIPPED_PRETRAINED,
    PLAIN,
    PRETRAINED,
    REPAIRED,
    SKEWED,
    SKEWED_PRETRAINED,
    W4A4,
    W4A4_LONGER,
    W4A4_MIXED,
    W4A4_PRETRAINED,
    W4A4_PRETRAINED_LONGER,
    W4A4_REPAIRED,
    W4A8,
    W4A8_PRETRAINED,
    Measured,
    Setting,
)
from selectq.statistics.verdicts import Candidate, Gap, Verdict, cheapest_that_keeps_up, judge
from selectq.tables.cells import NOTHING, Column
from selectq.tables.markdown import markdown_table


@dataclass(frozen=True)
class Situation:
    """Runs on one FP32 network with equal bit widths: the recommendation is out of all their configurations."""

    name: str
    settings: tuple[Setting, ...]


README_SITUATIONS = (
    Situation("8 bits", (PLAIN,)),
    Situation("8 bits, from ImageNet weights", (PRETRAINED,)),
    Situation("8 bits, channel ranges skewed", (SKEWED, REPAIRED)),
    Situation("8 bits, from ImageNet weights, skewed", (SKEWED_PRETRAINED, CLIPPED_PRETRAINED)),
    Situation("4-bit weights", (W4A8,)),
    Situation("4-bit weights and activations", (W4A4, W4A4_REPAIRED, W4A4_LONGER)),
)
ALL_SITUATIONS = (
    *README_SITUATIONS,
    Situation("4-bit weights, from ImageNet weights", (W4A8_PRETRAINED,)),
    Situation("4 bits, but 8 for sums and ends", (W4A4_MIXED,)),
    Situation("4 bits, from ImageNet weights", (W4A4_PRETRAINED, W4A4_PRETRAINED_LONGER)),
)

COLUMNS = (
    Column("Setting", "text"),
    Column("Plain PTQ, gap", "number"),
    Column("What must be retrained", "text"),
    Column("Gap to FP32, points", "number"),
    Column("Cost", "text"),
)


def recommendations(runs: Mapping[Setting, Measured], situations: Iterable[Situation]) -> list[str]:
    """The lines of the table: the cheapest configuration that keeps up with FP32, or else the nearest to it."""
    return markdown_table(
        COLUMNS, [_row(situation, [runs[one] for one in situation.settings]) for situation in situations]
    )


def _row(situation: Situation, runs: Sequence[Measured]) -> tuple[str, ...]:
    offered = {run.candidate(name): run for run in runs for name in run.configurations()}
    margin = runs[0].margin
    found = cheapest_that_keeps_up(offered, margin) or max(offered, key=lambda one: one.gap.points)
    plain = [one.gap.points for one in offered if not one.algorithms and not one.retrained_pct]
    return (
        situation.name,
        f"{max(plain):+.2f}" if plain else NOTHING,
        _what(found, offered[found], [judge(one.gap, "keeps up", margin) for one in offered]),
        gap_cell(found.gap),
        _cost(found, offered[found].name(found.name)),
    )


def _what(found: Candidate, run: Measured, verdicts: Sequence[Verdict]) -> str:
    layers = " + ".join(run.scope(found.name)).replace("all", "all layers") if found.retrained_pct else "nothing"
    if "holds" in verdicts:
        return layers
    return f"{'not shown' if 'unclear' in verdicts else 'more than was tried'}; nearest: {layers}"


def _cost(found: Candidate, name: str) -> str:
    epochs = f"{found.epochs} epoch{'s' if found.epochs > 1 else ''} of {found.retrained_pct:.0f} % of the parameters"
    training = epochs if found.retrained_pct else "no training"
    algorithms = f", {found.algorithms} PTQ algorithms" if found.algorithms else ""
    return f"{training}{algorithms} (`{name}`)"


def gap_cell(gap: Gap) -> str:
    """A gap with its interval; how many seeds, where there are several."""
    seeds = f", n={gap.seeds}" if gap.seeds > 1 else ""
    return f"{gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]{seeds}"
