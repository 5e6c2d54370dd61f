"""Looks: by the name alone, no two alike, readable on white and on black."""

import made_up
import pandas as pd
import pytest

from selectq.report.looks import MARKERS, assign_looks, with_looks

COMMITTED = ("tensor", "channel", "tensor_algorithms", "channel_algorithms", "full", "clf", "dw", "dwpw", "dwpw_asym")


def test_a_name_has_one_look_whatever_stands_beside_it() -> None:
    alone = assign_looks(["dwpw"])["dwpw"]
    assert assign_looks(["mine", "fp32", "dwpw", "tensor"])["dwpw"] == alone
    assert assign_looks(["mine"])["mine"] == assign_looks(["zzz", *COMMITTED, "mine"])["mine"]


def test_looks_differ_and_keep_the_order() -> None:
    names = [*COMMITTED, *(f"config{number}" for number in range(25)), "fp32"]
    looks = assign_looks(names)
    assert list(looks) == names
    assert len(set(looks.values())) == len(names)
    assert len(assign_looks(map(str, range(200)))) == 200, "more names than looks"


@pytest.mark.parametrize("name", [*COMMITTED, "fp32", "mine", "any_other"])
def test_colours_stand_out_on_white_and_on_black(name: str) -> None:
    """By WCAG 2.1, 3 : 1 for what is no text."""
    look = assign_looks([name])[name]
    channels = [int(look.colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    luminance = sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert 1.05 / (luminance + 0.05) > 3 and (luminance + 0.05) / 0.06 > 3
    assert look.marker in MARKERS


def test_rows_get_the_look_of_their_name() -> None:
    drift = with_looks(pd.concat([made_up.drift("full"), made_up.drift("mine")]), "config")
    looks = assign_looks(["mine", "full"])
    found = drift.groupby("config")[["colour", "marker"]].agg(["nunique", "first"])
    for name, look in looks.items():
        assert found.loc[name].to_list() == [1, look.colour, 1, look.marker]
