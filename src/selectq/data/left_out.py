"""What is not used of the files that were found: told on standard error, or refused."""

import sys

from selectq.errors import UserError

LISTED, LISTED_BAD = 3, 20
"""So many are named, of images that cannot be read more: they are to be mended. Of the others, how many there are."""


class BadImageError(UserError):
    """An image file that cannot be read as one; the message opens with its name."""


class LeftOut:
    """Files of a folder or archive that are no images to use, by reason."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: object) -> None:
        """Note a file."""
        self._names.setdefault(reason, []).append(str(name))

    def tell(self) -> None:
        """One line on standard error for each reason."""
        for reason, names in self._names.items():
            _notice(f"{self._origin}: left out {len(names)} ({reason}): {_first(names, ', ', LISTED)}")


class BadImages:
    """Images that cannot be read: refused together at the end, or left out where the user allows it."""

    def __init__(self, skip: bool, remedy: str) -> None:
        """`remedy` is what the user writes to allow it."""
        self._skip, self._remedy = skip, remedy
        self._messages: list[str] = []

    def add(self, error: BadImageError) -> None:
        """Note an image."""
        self._messages.append(str(error))

    @property
    def refused(self) -> bool:
        """Whether `check` will raise: no other image is of use any more."""
        return bool(self._messages) and not self._skip

    def check(self) -> None:
        """Name them on standard error.

        Raises:
            UserError: names them instead, where they may not be left out.
        """
        count, listed = len(self._messages), _first(self._messages, "; ", LISTED_BAD)
        if self.refused:
            what = listed if count == 1 else f"{count} images cannot be read: {listed}"
            raise UserError(f"{what}; to leave {'it' if count == 1 else 'them'} out: {self._remedy}")
        if count:
            _notice(f"left out {count} (cannot be read): {listed}")


def _first(texts: list[str], separator: str, count: int) -> str:
    more = [f"and {len(texts) - count} more"] if len(texts) > count else []
    return separator.join([*texts[:count], *more])


def _notice(text: str) -> None:
    printable = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    print(f"notice: {printable}", file=sys.stderr)
