"""The one kind of error that a user sees as a single line, and the exit status of a goal that was missed."""

import difflib
from collections.abc import Iterable

GOAL_MISSED = 3
"""The exit status where nothing that was tried meets the goal."""


class UserError(Exception):
    """Something the user can put right: what is wrong, the offending value, what is allowed.

    Stage scripts and the command line print the message as one line and exit with status 2.
    """


def first_line(error: Exception) -> str:
    """For messages: the first line of another library's error, or its type where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def with_closest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """For the end of a message that refuses `name`: up to three that begin so or are spelt alike, or nothing.

    `prefix` is what the user writes before each.
    """
    all_names = list(known)
    longer = [each for each in all_names if name and each.startswith(name)]
    alike = list(dict.fromkeys([*longer, *difflib.get_close_matches(name, all_names, n=3, cutoff=0.4)]))
    return f"; closest: {', '.join(prefix + each for each in alike[:3])}" if alike else ""
