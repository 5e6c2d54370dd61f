"""`results/claims.md`: what holds where, a line for each claim, and what was measured below it."""

from collections.abc import Mapping, Sequence

from selectq.claims.inconsistencies import inconsistencies_sheet
from selectq.claims.paper_claims import CLAIMS, GROUPS, Claim
from selectq.claims.questions import LEVEL, Answer
from selectq.claims.settings import CONTROLS, PLAIN, Measured, Setting
from selectq.tables.cells import NOTHING, Column
from selectq.tables.markdown import bullet, markdown_table, prose

Judged = Mapping[Claim, Mapping[Setting, Answer]]


def judge_claims(runs: Mapping[Setting, Measured]) -> dict[Claim, dict[Setting, Answer]]:
    """Every claim in every setting of it.

    Raises:
        UserError: a run lacks what a claim asks.
    """
    return {claim: claim.judge(runs) for claim in CLAIMS}


def reading_rules(plain: Measured) -> list[str]:
    """How a verdict comes about: the same on all pages."""
    margin, confidence = f"{plain.margin:g}", f"{100 * plain.confidence:g} %"
    rules = (
        "A gap is a difference of two accuracies on the same test images, in points, with its"
        f" {confidence} interval. In brackets: over how many trainings (seeds). Of one training, the interval is over"
        " the choice of the test images alone; of three or more, over seeds and images together.",
        f"A difference counts from {margin} points on. *Keeps up*: above -{margin}. *Falls short*: below -{margin}. *Is"
        f" ahead*: above +{margin}. A claim **holds** if the whole interval lies there, **fails** if it lies on the"
        " other side, and is **unclear** otherwise.",
        "**smaller**: it holds, but the whole interval is below half of the paper's figure.",
        f"The verdicts of one row of a table are corrected for their number (Holm, at {LEVEL:g}): one may be unclear"
        " though its interval alone would say more. Of 20 rows, one may still be wrong by chance.",
    )
    return [line for rule in rules for line in bullet(rule)]


def claims_page(runs: Mapping[Setting, Measured], judged: Judged) -> str:
    """The page, from what the runs left in `results/`."""
    numbers = {claim: number for number, claim in enumerate(judged, start=1)}
    wrong = inconsistencies_sheet(runs[CONTROLS])
    lines = ["# The paper's claims, one by one", ""]
    lines += [*prose("Written by `selectq claims` from the tables in `results/`: do not edit."), ""]
    lines += [*reading_rules(runs[PLAIN]), ""]
    for title, settings in GROUPS:
        lines += [f"## {title}", "", *_overview(judged, numbers, settings), "", *map(_legend, settings), ""]
    lines += ["## Details", ""]
    for claim, answers in judged.items():
        lines += [f"### {numbers[claim]}. {claim.text}", "", _place(claim), "", *_details(answers), ""]
    lines += [f"## {wrong.title}", "", *markdown_table(wrong.columns, wrong.rows), ""]
    return "\n".join(lines)


def _overview(judged: Judged, numbers: Mapping[Claim, int], settings: Sequence[Setting]) -> list[str]:
    """A line for each claim that is asked there, a column for each setting."""
    columns = [Column(heading, "text") for heading in ("#", "Claim", "The paper", *(one.short for one in settings))]
    rows = [
        (
            str(numbers[claim]),
            claim.text,
            claim.paper,
            *(answers[one].verdict if one in answers else NOTHING for one in settings),
        )
        for claim, answers in judged.items()
        if set(answers) & set(settings)
    ]
    return markdown_table(columns, rows)


def _legend(setting: Setting) -> str:
    return f"- {setting.short}: {setting.name} (`results/{setting.profile}/`)"


def _place(claim: Claim) -> str:
    if claim.paper == NOTHING:
        return "The paper does not test it."
    return f"The paper: {claim.paper}, {claim.place}." if claim.place else f"The paper: {claim.paper}."


def _details(answers: Mapping[Setting, Answer]) -> list[str]:
    columns = [Column(heading, "text") for heading in ("Setting", "Ours", "p, corrected", "Verdict")]
    rows: list[tuple[str, ...]] = []
    for setting, answer in answers.items():
        first, *further = answer.ours
        rows.append((setting.name, first, f"{answer.p:.2g}" if answer.p else NOTHING, answer.verdict))
        rows += [("", line, "", "") for line in further]
    return markdown_table(columns, rows)
