"""`selectq claims`: the paper's claims beside what the runs in `results/` measured."""

from pathlib import Path

from selectq.claims.page import claims_page
from selectq.files import write_bytes
from selectq.params.load import PARAMS_FILE, load_params


def run_claims(checkout: Path) -> None:
    """Write `results/claims.md`, and print it.

    Raises:
        UserError: bad parameters, or a run in `results/` lacks what a claim asks.
    """
    page = claims_page(checkout, load_params(checkout / PARAMS_FILE))
    write_bytes(checkout / "results" / "claims.md", page.encode())
    print(page, end="")
