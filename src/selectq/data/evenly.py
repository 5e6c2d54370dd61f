"""Some of many, evenly spread: splits lie in the order of their labels."""


def evenly(total: int, count: int) -> slice:
    """Takes at most `count` of `total`, evenly spread; all where there are no more."""
    return slice(None, None, max(1, -(-total // count)))
