"""`selectq claims`: the paper's claims beside what the runs in `results/` measured."""

from pathlib import Path

from selectq.claims.page import claims_page
from selectq.files import write_bytes
from selectq.params.load import PARAMS_FILE, read_yaml, validate


def run_claims(checkout: Path) -> None:
    """Write `results/claims.md`, and print it.

    Raises:
        UserError: bad parameters, or a run in `results/` lacks what a claim asks.
    """
    params = validate(read_yaml(checkout / PARAMS_FILE), str(PARAMS_FILE))
    page = claims_page(checkout, params)
    write_bytes(checkout / "results" / "claims.md", page.encode())
    print(page, end="")
