"""`results/claims.md`: claim by claim, what holds where."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from selectq.claims.inconsistencies import inconsistencies_sheet
from selectq.claims.paper_claims import CLAIMS, Claim
from selectq.claims.questions import write_gap
from selectq.claims.regimes import Measured, Regime, read_measured
from selectq.models.mobilenetv2 import build_mobilenetv2
from selectq.params.configs import Params
from selectq.statistics.answers import REFERENCE
from selectq.tables.cells import NOTHING, Column
from selectq.tables.markdown import markdown_table, prose

CLASSES = 10
"""Of CIFAR-10, the images of every regime."""

COLUMNS = tuple(Column(heading, "text") for heading in ("Claim", "The paper", "Regime", "Ours", "Verdict"))


def claims_page(checkout: Path, params: Params) -> str:
    """The page, from what the runs left in `results/`.

    Raises:
        UserError: a run that is there lacks what a claim asks.
    """
    margin, confidence = params.statistics.margin_points, params.statistics.confidence
    asked = dict.fromkeys(regime for claim in CLAIMS for regime in claim.regimes)
    network = build_mobilenetv2(params.model, CLASSES)
    regimes = {regime: read_measured(checkout, regime, margin, network) for regime in asked}
    wrong = inconsistencies_sheet(network)
    lines = [
        "# The paper's claims, one by one",
        "",
        *prose(
            f"Gaps are in points of top-1 accuracy on the test images, with {100 * confidence:g} % intervals: over"
            " seeds (Student) where a configuration was trained from three or more, otherwise over the choice of the"
            " images, of one training (paired bootstrap), which says nothing of another. A claim holds, or does not,"
            f" where its whole interval says so; a loss below {margin:g} points is none, a lead that cannot reach as"
            " much is none either. Where a regime was not run there is no verdict. Written by `selectq claims`."
        ),
        "",
        *markdown_table(COLUMNS, _rows(CLAIMS, regimes)),
        "",
        "## Side by side",
        "",
        *prose("Gap of each configuration to the FP32 network of its regime, with intervals as above."),
        "",
        *_side_by_side([measured for measured in regimes.values() if measured]),
        "",
        f"## {wrong.title}",
        "",
        *markdown_table(wrong.columns, wrong.rows),
        "",
    ]
    return "\n".join(lines)


def _side_by_side(runs: Sequence[Measured]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.configurations())
    columns = [Column("Configuration", "text"), *(Column(run.regime.name, "text") for run in runs)]
    rows = [("fp32", *(f"{run.table['fp32_top1'].iloc[0]:.2f} %" for run in runs))]
    for name in names:
        gaps = [write_gap(run.gap(name, REFERENCE)) if name in run.configurations() else NOTHING for run in runs]
        rows.append((name, *gaps))
    return markdown_table(columns, rows)


def _rows(claims: Sequence[Claim], regimes: Mapping[Regime, Measured | None]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for claim in claims:
        for number, regime in enumerate(claim.regimes):
            measured = regimes[regime]
            answer = claim.question.ask(measured) if measured else None
            ours, verdict = (answer.ours, f"**{answer.verdict}**") if answer else ("not run", NOTHING)
            first = (claim.text, claim.figures) if number == 0 else ("", "")
            rows.append((*first, regime.name, ours, verdict))
    return rows
