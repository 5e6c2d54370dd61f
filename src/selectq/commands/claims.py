"""`selectq claims`: the pages that the archived studies in `results/` are written up in."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from selectq.claims.in_short import in_short
from selectq.claims.page import claims_page, judge_claims
from selectq.claims.recommendations import README_SITUATIONS, recommendations
from selectq.claims.results_page import results_page
from selectq.claims.settings import Measured, Setting, read_settings
from selectq.errors import UserError
from selectq.files import write_bytes

BEGIN, END = "<!-- results -->", "<!-- /results -->"
"""Lines of README between which its table and the findings stand."""


def run_claims(checkout: Path) -> None:
    """Write the pages, and print their names.

    Raises:
        UserError: a study in `results/` is damaged or lacks what a claim asks, or README has no place for them.
    """
    for name, text in written_pages(checkout, read_settings(checkout)).items():
        write_bytes(checkout / name, text.encode())
        print(name)


def written_pages(checkout: Path, runs: Mapping[Setting, Measured]) -> dict[str, str]:
    """The text of every page, by its path in the checkout.

    Raises:
        UserError: see `run_claims`.
    """
    judged = judge_claims(runs)
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    return {
        "results/claims.md": claims_page(runs, judged),
        "docs/results.md": results_page(checkout, runs, judged),
        "README.md": with_results(
            readme, [*recommendations(runs, README_SITUATIONS), "", in_short(runs, judged).rstrip()]
        ),
    }


def with_results(readme: str, lines: Sequence[str]) -> str:
    """README with other results.

    Raises:
        UserError: it has no place for them.
    """
    before, begin, rest = readme.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"README.md: no lines {BEGIN} and {END}, between which the results stand; add them")
    return "".join([before, begin, *(f"{line}\n" for line in lines), end, after])
