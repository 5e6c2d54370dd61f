"""What is chosen by name in `params.yaml` and may come from other packages: known before any of its code is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from selectq.errors import UserError

T = TypeVar("T")


@dataclass
class Plugins(Generic[T]):
    """Names and what they stand for: selectq's own, what installed packages offer, what this process registered.

    Attributes:
        key: in `params.yaml`, for messages.
        title: what one of them is, for messages.
        group: of the entry points under which other packages offer theirs; `docs/extend.md` shows how.
        own: name -> the module that registers it when it is imported, in order.
    """

    key: str
    title: str
    group: str
    own: Mapping[str, str]
    _made: dict[str, T] = field(default_factory=dict)

    @cached_property
    def _offered(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def names(self) -> tuple[str, ...]:
        """All that are known: selectq's own in their order, then others."""
        return tuple(dict.fromkeys([*self.own, *self._offered, *self._made]))

    def others(self) -> tuple[str, ...]:
        """Those that are not selectq's own."""
        return self.names()[len(self.own) :]

    def register(self, name: str, made: T) -> T:
        """Make one known by its name, in this process.

        Raises:
            UserError: the name is taken.
        """
        if name in self._made or name in self._offered:
            raise UserError(f"{self.key}: {name!r} is taken by another {self.title}")
        self._made[name] = made
        return made

    def find(self, name: str) -> T:
        """What a name stands for; its code is loaded now.

        Raises:
            UserError: it is not known.
        """
        if name in self._offered:
            made: T = self._offered[name].load()()
            return made
        if name in self.own:
            import_module(self.own[name])
        if name not in self._made:
            raise UserError(f"{self.key}: {name!r} is no {self.title}; allowed: {', '.join(self.names())}")
        return self._made[name]
