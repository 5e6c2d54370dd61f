"""`claims.yaml` as objects: what is claimed, and in which studies it is asked."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from selectq.config.load import read_yaml


@dataclass(frozen=True)
class Setting:
    """A study, in `results/<folder>`, or those of its configurations whose names begin with `prefix`.

    `commit` made an archived one, which is not run again.
    """

    folder: str
    name: str
    short: str
    prefix: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim in a line.

    Attributes:
        test: the name of a function of `hypotheses`, and its arguments.
        settings: the folders of those in which it is asked.
        paper: its figure there, or else its place; empty for what the paper does not test and a reader would ask.
        place: that of the figure.
    """

    text: str
    test: tuple[str, dict[str, Any]]
    settings: frozenset[str]
    paper: str = ""
    place: str = ""


@dataclass(frozen=True)
class Catalogue:
    """See `claims.yaml`; settings are named by their folder, claims by their key."""

    settings: dict[str, Setting]
    groups: dict[str, list[str]]
    situations: dict[str, list[str]]
    in_readme: int
    claims: dict[str, Claim]
    inconsistencies: dict[str, str]

    def of_group(self, group: str) -> list[str]:
        """The settings of a group; of `all`, every setting."""
        return list(self.settings) if group == "all" else self.groups[group]


@cache
def catalogue() -> Catalogue:
    """The catalogue of this package."""
    content = read_yaml(Path(__file__).with_name("claims.yaml"))
    sets = content.pop("sets")

    def expanded(names: list[str]) -> frozenset[str]:
        return frozenset().union(*(expanded(sets[name]) if name in sets else {name} for name in names))

    settings = {folder: Setting(folder, **words) for folder, words in content.pop("settings").items()}
    claims = {}
    for key, claim in content.pop("claims").items():
        (test,) = claim.pop("test").items()
        claims[key] = Claim(test=test, settings=expanded(claim.pop("settings")), **claim)
    return Catalogue(settings=settings, claims=claims, **content)
