"""The one kind of error that a user sees as a single line."""


class UserError(Exception):
    """Something the user can put right: what is wrong, the offending value, what is allowed.

    Stage scripts and the command line print the message as one line and exit with status 2.
    """
