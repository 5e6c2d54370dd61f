"""The one kind of error that a user sees as a single line."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right: what is wrong, the offending value, what is allowed.

    Stage scripts and the command line print the message as one line and exit with status 2.
    """


def with_closest(name: str, known: Iterable[str]) -> str:
    """For the end of a message that refuses `name`: up to three that are spelt alike, or nothing."""
    alike = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"; closest: {', '.join(alike)}" if alike else ""
