"""The `selectq` command."""

import argparse

from selectq.stage import run
from selectq.study import find_checkout, run_study


def main() -> None:
    """Parse the command line and run what it asks for; exit status 2 for a user's mistake."""
    arguments = _parser().parse_args()
    run(lambda: run_study(find_checkout(), arguments.profile, arguments.keep))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selectq", description="Which layers must be retrained for INT8.")
    commands = parser.add_subparsers(title="commands", required=True)
    study = commands.add_parser("study", help="run the pipeline under a profile, apart from the checkout's own run")
    study.add_argument("profile", metavar="PROFILE", help="profiles/PROFILE.yaml is laid over params.yaml")
    study.add_argument("--keep", action="store_true", help="copy tables, plots' data and lock to results/PROFILE/")
    return parser
