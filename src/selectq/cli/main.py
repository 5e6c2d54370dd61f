"""The `selectq` command.

A command's code is loaded when it is asked for: one that needs no torch starts without it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, NamedTuple

from selectq.command import CHECKOUT, add_arguments
from selectq.stage import run


class Command(NamedTuple):
    """A name, the function that does it, as `module:function` of this package, and what it does."""

    name: str
    function: str
    help: str

    def load(self) -> Callable[..., None]:
        """The function; its module is loaded now."""
        module, _, name = self.function.partition(":")
        function: Callable[..., None] = getattr(import_module(f"selectq.{module}"), name)
        return function


COMMANDS = (
    Command("study", "study:run_study", "run the pipeline under a profile, apart from the checkout's own run"),
    Command("search", "search:run_search", "what the validation images say of a profile's configurations"),
    Command("share", "team.share:share", "push everything that ran to the team's remote, with the run cache"),
    Command("fetch", "team.share:fetch", "get everything that the team ran, without training"),
    Command("verify", "team.verify:verify", "hash the cache and the outputs, and name what is damaged"),
    Command("plots-page", "team.plots_page:install_plots_page", "have `dvc plots show` work without a network"),
    Command("fanout", "cli.fanout:run_fanout", "run independent stages at the same time, here or on a Ray cluster"),
    Command("merge-lock", "team.merge_lock:merge_files", "merge dvc.lock stage by stage (git's merge driver)"),
    Command("predict", "cli.predict:run_predict", "name the class of each image"),
    Command("evaluate", "cli.evaluate:run_evaluate", "measure accuracy on labelled images, by class too"),
    Command("inspect", "cli.inspect:run_inspect", "say what a model is, layer by layer and byte by byte"),
    Command(
        "quantize", "cli.quantize:run_quantize", "make an INT8 program of your trained network, and say what it lost"
    ),
    Command(
        "plan", "cli.plan:run_plan", "print the plan: the cheapest way to quantize that meets the goal, layer by layer"
    ),
    Command("widths", "cli.widths:run_widths", "accuracy against size, from all layers at 8 bits to all at 4"),
    Command("bench", "cli.bench:run_bench", "time programs on this machine, side by side"),
    Command("controls", "cli.controls:run_controls", "print random scopes of equal size, as entries of a profile"),
    Command(
        "claims",
        "cli.claims:run_claims",
        "write results/claims.md, docs/networks.md, docs/results.md and README's table",
    ),
)


def main() -> None:
    """Parse the command line and run what it asks for; exit status 2 for a user's mistake."""
    run(lambda: _run(vars(command_parser(sys.argv[1:2]).parse_args())))


def command_parser(asked: Collection[str]) -> argparse.ArgumentParser:
    """A parser that knows every command, and the arguments of those that are named."""
    parser = argparse.ArgumentParser(prog="selectq", description="Which layers must be retrained for INT8.")
    commands = parser.add_subparsers(title="commands", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        if command.name in asked:
            function = command.load()
            own.description = str(function.__doc__).splitlines()[0]
            add_arguments(own, function)
            own.set_defaults(function=function)
    return parser


def _run(arguments: dict[str, Any]) -> None:
    function: Callable[..., None] = arguments.pop("function")
    if CHECKOUT in function.__annotations__:
        from selectq.study import find_checkout  # noqa: PLC0415  # what most commands do without

        arguments[CHECKOUT] = find_checkout()
    try:
        function(**arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
