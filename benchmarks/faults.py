"""What the pipeline survives: `make faults` injects faults into the demo and counts, `benchmarks/results/faults.csv`.

The demo is made as `selectq study digits` makes it, in a scratch folder, from a copy of this checkout: the real stages
of `dvc.yaml` under `profiles/digits.yaml`, cut short by SHORT in `fault_demo.py` (two configurations of QAT, an epoch
of training, 64 images to calibrate, 100 test images, feature maps of half the size). It has a cache of its own. After
one undisturbed run, a trial makes the demo forget that a stage has run, or damages something, and does harm while DVC
runs that stage (`dvc repro --single-item`). It is survived if a plain `dvc repro` afterwards, with nothing cleaned up
by hand, ends with status 0 in the same bytes, of every output and in dvc.lock up to order, as the undisturbed run, and
every object and output has the hash that `selectq verify` holds it to. A row may say that `selectq verify --mend` runs
before.

Rows are written as they finish, and `--resume` goes on after those that are there; the reason of every trial that was
not survived is printed below its row. Mounting needs a mount namespace (root, or user namespaces); where there is none,
the rows that need it are left out and named.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from fault_demo import Demo, make_demo, run_undisturbed
from fault_plan import plan
from fault_trials import Row, Site, run_fault
from machine import machine_slug

from selectq.errors import UserError
from selectq.files import write_csv
from selectq.stage import run

HERE = Path(__file__).resolve().parent
COLUMNS = ["fault", "trials", "survived"]
MACHINE = "faults_machine.csv"
"""Beside the table: hardware and versions."""

PACKAGES = ("dvc", "torch")
IN_NAMESPACE = "FAULTS_IN_NAMESPACE"


def main() -> None:
    """Try every fault, and write what was survived."""
    arguments = _arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background, by DVC too
    _enter_namespace()
    machine = machine_slug(torch.device("cpu"), PACKAGES)
    print(f"faults: {machine}", flush=True)
    write_csv(arguments.output.with_name(MACHINE), pd.DataFrame({"machine": [machine]}))
    scratch = HERE.parent / ".workspaces"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="faults-", dir=scratch, ignore_cleanup_errors=True) as folder:
        sites = make_sites(HERE.parent, Path(folder), arguments.jobs)
        rows = read_rows(arguments.output) if arguments.resume else []
        for fault in plan(sites[0], arguments.share):
            if arguments.only in fault.name and fault.name not in {row.fault for row in rows}:
                rows.append(run_fault(fault, sites))
                print(*describe(rows[-1]), sep="\n", flush=True)
                write_csv(arguments.output, table(rows))
    print(f"written: {arguments.output}")


def make_sites(source: Path, folder: Path, count: int) -> list[Site]:
    """Run the demo of a checkout once, undisturbed, and make `count` copies of it."""
    print("the undisturbed run, some minutes ...", flush=True)
    first = make_demo(source, folder / "1")
    seconds = run_undisturbed(first)
    expected = first.result()
    traces = {stage: first.traces(stage) for stage in first.stages()}
    healthy = folder / "healthy"
    first.keep_as(healthy)
    demos = [first, *(Demo(folder / str(number)) for number in range(2, count + 1))]
    for demo in demos[1:]:
        demo.root.mkdir()
        demo.put_back(healthy)
    print(f"... took {sum(seconds.values()):.0f} s for {len(seconds)} stages", flush=True)
    return [Site(demo, healthy, expected, traces, seconds) for demo in demos]


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """The table as it is written."""
    return pd.DataFrame([(row.fault, row.trials, row.survived) for row in rows], columns=COLUMNS)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table that `table` made; their reasons were only printed."""
    kept = pd.read_csv(path).itertuples(index=False, name=None)
    return [Row(fault, trials, ("",) * (trials - survived)) for fault, trials, survived in kept]


def describe(row: Row) -> list[str]:
    """A row in words, and below it the reasons of the trials that were not survived."""
    reasons = Counter(row.reasons).most_common()
    return [f"{row.survived} of {row.trials}: {row.fault}", *(f"    {count} x {reason}" for reason, count in reasons)]


def _enter_namespace() -> None:
    """Start again in a mount namespace of its own, where that can be: what is mounted there ends with it."""
    if IN_NAMESPACE in os.environ:
        return
    os.environ |= {IN_NAMESPACE: "1", "TQDM_DISABLE": "1"}  # the bars of trials that run at once would mix
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *rights, "--mount", "--propagation", "private"]
    if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "faults.csv", help="the table")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the faults whose name contains this")
    parser.add_argument("--resume", action="store_true", help="go on after the rows that are there")
    parser.add_argument("--share", type=float, default=1.0, help="of the trials, at least one of each (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default 2)")
    arguments = parser.parse_args()
    if not 0 < arguments.share <= 1:
        raise UserError(f"--share: {arguments.share} is out of range; allowed: above 0, up to 1")
    if arguments.resume and not arguments.output.exists():
        raise UserError(f"--resume: {arguments.output} does not exist")
    if arguments.jobs < 1:
        raise UserError(f"--jobs: {arguments.jobs} is out of range; allowed: 1 or more")
    return arguments


if __name__ == "__main__":
    run(main)
