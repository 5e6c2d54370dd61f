"""`selectq claims`: the pages that the archived studies in `results/` are written up in."""

from collections.abc import Sequence
from pathlib import Path

from selectq.claims.catalogue import catalogue
from selectq.claims.hypotheses import judge_claims
from selectq.claims.measured import Runs, read_runs
from selectq.claims.networks_page import networks_page
from selectq.claims.page import claims_page
from selectq.claims.recommendations import recommendations
from selectq.claims.results_page import in_short, results_page
from selectq.errors import UserError
from selectq.files import write_bytes

BEGIN, END = "<!-- results -->", "<!-- /results -->"
"""Lines of README between which its table and the findings stand."""


def run_claims(checkout: Path) -> None:
    """Write the pages, and print their names.

    Raises:
        UserError: a study in `results/` is damaged or lacks what a claim asks, or README has no place for them.
    """
    for name, text in written_pages(checkout, read_runs(checkout)).items():
        write_bytes(checkout / name, text.encode())
        print(name)


def written_pages(checkout: Path, runs: Runs) -> dict[str, str]:
    """The text of every page, by its path in the checkout.

    Raises:
        UserError: see `run_claims`.
    """
    judged = judge_claims(runs)
    in_readme = dict(list(catalogue().situations.items())[: catalogue().in_readme])
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    return {
        "results/claims.md": claims_page(runs, judged),
        "docs/networks.md": networks_page(checkout),
        "docs/results.md": results_page(checkout, runs, judged),
        "README.md": with_results(readme, [*recommendations(runs, in_readme), "", in_short(runs, judged).rstrip()]),
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
