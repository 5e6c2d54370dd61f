"""What the mutants' trials found, as a table that git keeps."""

import csv
from collections.abc import Mapping
from pathlib import Path

from mutants import MUTANTS

RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = ("name", "kind", "file", "mutant", "noticed", "by")


def read_results() -> dict[str, str]:
    """Mutant's name -> the test that noticed it, or nothing; only of mutants that are still what was tried."""
    if not RESULTS.exists():
        return {}
    tried = {mutant.name: mutant.edit for mutant in MUTANTS}
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["by"] for row in csv.DictReader(file) if tried.get(row["name"]) == row["mutant"]}


def write_results(noticed_by: Mapping[str, str]) -> None:
    """A row for each mutant that was tried, in the order of the list."""
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for mutant in MUTANTS:
            if mutant.name in noticed_by:
                by = noticed_by[mutant.name]
                table.writerow((mutant.name, mutant.kind, mutant.file, mutant.edit, "yes" if by else "no", by))
