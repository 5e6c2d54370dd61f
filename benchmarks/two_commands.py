"""How long README's two commands take once everything is installed: `make bench-commands`.

They run one after the other in a fresh clone of the last commit, which has no cache: nothing may run beside them.
Writes `commands_<hardware>_<versions>.csv`; tests/test_docs.py holds README's minutes to it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from machine import machine_slug
from workload import CHECKOUT

from selectq.files import write_csv

TARGETS = ("demo", "test")
INSTALLED = ("--old-file=.venv/.ready", "--old-file=.venv/.ready-dev")
"""What `make` would otherwise set up anew, since a clone's files are newer."""


def minutes(target: str, clone: Path) -> float:
    """Of the clock, for a target of the Makefile."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    subprocess.run(
        ["make", *INSTALLED, target], cwd=clone, env={**environment, "PYTHONPATH": str(clone / "src")}, check=True
    )
    return (time.monotonic() - began) / 60


def main() -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", CHECKOUT, clone], check=True)
        (clone / ".venv").symlink_to(Path(sys.prefix))
        rows = [{"command": f"make {target}", "minutes": minutes(target, clone)} for target in TARGETS]
    path = CHECKOUT / "benchmarks/results" / f"commands_{machine_slug(torch.device('cpu'))}.csv"
    write_csv(path, pd.DataFrame(rows), digits=2)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
