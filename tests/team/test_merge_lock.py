"""Branches that ran different stages merge without a conflict in `dvc.lock`."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from trivial_pipeline import CHECKOUT, FEW, SELECTQ, Repository, set_parameter

from selectq.errors import UserError
from selectq.team.merge_lock import Lock, merge_files, merge_locks


def lock(**stages: int) -> Lock:
    return {"schema": "2.0", "stages": {name: {"cmd": f"run {value}"} for name, value in stages.items()}}


@pytest.mark.parametrize(
    ("ours", "theirs", "merged", "disputed"),
    [
        (lock(a=1, b=1), lock(a=1, b=1), lock(a=1, b=1), []),
        (lock(a=2, b=1), lock(a=1, b=2), lock(a=2, b=2), []),
        (lock(a=2, b=1), lock(a=2, b=1), lock(a=2, b=1), []),
        (lock(a=2, b=1), lock(a=3, b=1), lock(b=1), ["a"]),
        (lock(a=1), lock(a=1, b=1, c=1), lock(a=1, c=1), []),
        (lock(a=1), lock(a=1, b=2), lock(a=1), ["b"]),
        (lock(a=1, b=1, c=1), lock(a=1, b=1, d=1), lock(a=1, b=1, c=1, d=1), []),
    ],
)
def test_stage_by_stage(ours: Lock, theirs: Lock, merged: Lock, disputed: list[str]) -> None:
    assert merge_locks(lock(a=1, b=1), ours, theirs) == (merged, disputed)


LOCKS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)).map(lambda stages: lock(**stages))


@given(base=LOCKS, ours=LOCKS, theirs=LOCKS)
def test_sides_are_equal_and_an_unchanged_one_gives_way(base: Lock, ours: Lock, theirs: Lock) -> None:
    assert _unordered(merge_locks(base, ours, theirs)) == _unordered(merge_locks(base, theirs, ours))
    assert merge_locks(base, ours, base) == (ours, []) if ours["stages"] else True


def _unordered(result: tuple[Lock, list[str]]) -> tuple[Lock, list[str]]:
    return result[0], sorted(result[1])


def test_what_is_no_lock_is_refused_and_left_alone(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("base", "ours", "theirs")]
    for path, text in zip(paths, ("schema: '2.0'\n", "schema: '2.0'\n", "<<<<<<< ours\n"), strict=True):
        path.write_text(text)
    with pytest.raises(UserError, match="theirs"):
        merge_files(*paths)
    assert paths[1].read_text() == "schema: '2.0'\n"


def test_merged_branches_need_only_the_tables(work: Repository) -> None:
    """The walk of two colleagues: each changes a rate on a branch, runs, commits; then both are merged."""
    register_drivers(work)
    for branch, key in (("one", "qat.dw.lr"), ("two", "qat.clf.lr")):
        work.git("switch", "--quiet", "--create", branch, "main")
        text = work.read("params.yaml")
        old, new = FEW["qat"][key.split(".")[1]]["lr"], 0.00077
        document = yaml.safe_load(text)
        set_parameter(key, new)(document)
        assert old != new
        work.write("params.yaml", yaml.safe_dump(document, sort_keys=False))
        work.repro()
        work.git("commit", "--quiet", "--all", "--message", branch)
    work.git("switch", "--quiet", "main")
    work.git("merge", "--quiet", "one")
    work.git("merge", "--quiet", "--no-edit", "two")
    assert yaml.safe_load(work.read("params.yaml"))["qat"]["dw"]["lr"] == new
    work.dvc("checkout")
    assert work.repro() == {"compare", "table", "card@dw"}, "what each branch trained is in the merged lock"


def register_drivers(work: Repository) -> None:
    """As `make setup` does, with this Python's command."""
    makefile = (CHECKOUT / "Makefile").read_text()
    for name, command in (("lock", "selectq merge-lock %O %A %B"), ("written", "true")):
        assert f"merge.selectq-{name}.driver" in makefile and command in makefile
    drivers = {"selectq-lock": f"{SELECTQ} merge-lock %O %A %B", "selectq-written": "true"}
    for name, command in drivers.items():
        work.git("config", f"merge.{name}.driver", command)
