"""`results/claims.md`: what holds where, a line for each claim, and what was measured below it."""

from collections.abc import Mapping, Sequence

from selectq.claims.catalogue import Claim, catalogue
from selectq.claims.hypotheses import LEVEL, Finding, Judged
from selectq.claims.measured import Measured, Runs
from selectq.report.formatting import NOTHING, text_columns
from selectq.report.markdown import bullet, markdown_table, prose
from selectq.report.paper import read_paper


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


def claims_page(runs: Runs, judged: Judged) -> str:
    """The page, from what the runs left in `results/`."""
    claims = catalogue().claims
    numbers = {key: number for number, key in enumerate(judged, start=1)}
    lines = ["# The paper's claims, one by one", ""]
    lines += [*prose("Written by `selectq claims` from the tables in `results/`: do not edit."), ""]
    lines += [*reading_rules(runs["cifar10"]), ""]
    for title, group in catalogue().groups.items():
        lines += [f"## {title}", "", *_overview(judged, numbers, group), "", *map(_legend, group), ""]
    lines += ["## Details", ""]
    for key, findings in judged.items():
        lines += [f"### {numbers[key]}. {claims[key].text}", "", _place(claims[key]), "", *_details(findings), ""]
    table = markdown_table(
        text_columns("The paper", "What it comes to"), inconsistencies(runs["archive/controls"]).items()
    )
    return "\n".join([*lines, "## Figures that do not agree", "", *table, ""])


def _overview(judged: Judged, numbers: Mapping[str, int], group: Sequence[str]) -> list[str]:
    """A line for each claim that is asked there, a column for each setting."""
    claims, settings = catalogue().claims, catalogue().settings
    rows = [
        (
            str(numbers[key]),
            claims[key].text,
            claims[key].paper or NOTHING,
            *(findings[name].verdict if name in findings else NOTHING for name in group),
        )
        for key, findings in judged.items()
        if set(findings) & set(group)
    ]
    return markdown_table(text_columns("#", "Claim", "The paper", *(settings[name].short for name in group)), rows)


def _legend(name: str) -> str:
    setting = catalogue().settings[name]
    return f"- {setting.short}: {setting.name} (`results/{name}/`)"


def _place(claim: Claim) -> str:
    if not claim.paper:
        return "The paper does not test it."
    return f"The paper: {', '.join(filter(None, (claim.paper, claim.place)))}."


def _details(findings: Mapping[str, Finding]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for name, finding in findings.items():
        first, *further = finding.ours
        p = f"{finding.p:.2g}" if finding.p else NOTHING
        rows.append((catalogue().settings[name].name, first, p, finding.verdict))
        rows += [("", line, "", "") for line in further]
    return markdown_table(text_columns("Setting", "Ours", "p, corrected", "Verdict"), rows)


def inconsistencies(controls: Measured) -> dict[str, str]:
    """Figures of the paper that contradict each other or its method -> what they come to.

    Counts are those of a run with these sets of layers; differences are the paper's own accuracies, subtracted.
    """
    counts = controls.table1.set_index("config")["params_retrained"]
    share = {
        name: f"{count:,} of {counts['full']:,} parameters, {100 * count / counts['full']:.2f} %"
        for name, count in counts.items()
    }
    printed = read_paper().quantized.values()
    minus = {figures.method: f"{figures.fp32_top1} - {figures.int8_top1}" for figures in printed}
    loss = {figures.method: -figures.gap_points for figures in printed if figures.gap_points is not None}
    blocks = controls.block_drift["index"].nunique() - 2  # without the stem and the last convolution
    return {
        wrong: right.format(share=share, minus=minus, loss=loss, blocks=blocks)
        for wrong, right in catalogue().inconsistencies.items()
    }
