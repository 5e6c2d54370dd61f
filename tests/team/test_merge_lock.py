"""Branches that ran different stages merge without a conflict in `dvc.lock`."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_pipeline import NEW_RATE, RERUN, set_rate
from trivial_pipeline import CHECKOUT, SELECTQ, Repository

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


def test_merged_branches_train_nothing_again(small: Repository) -> None:
    """The walk of two colleagues: each changes a rate on a branch, runs, commits; then both are merged."""
    register_drivers(small)
    trained = {}
    for branch, name in (("one", "dw"), ("two", "clf")):
        small.git("switch", "--quiet", "--create", branch, "main")
        set_rate(small, name)
        small.repro()
        trained[name] = small.read(f"models/quantized/{name}.safetensors")
        small.git("commit", "--quiet", "--all", "--message", branch)
    small.git("switch", "--quiet", "main")
    small.git("merge", "--quiet", "one")
    small.git("merge", "--quiet", "--no-edit", "two")
    assert {each["lr"] for each in yaml.safe_load(small.read("params.yaml"))["qat"].values()} == {NEW_RATE}
    small.repro()
    assert trained == {name: small.read(f"models/quantized/{name}.safetensors") for name in trained}
    assert set(yaml.safe_load(small.read("dvc.lock"))["stages"]) == {"download", "qat@clf", "convert@clf", *RERUN}


def register_drivers(small: Repository) -> None:
    """As `make setup` does, with this Python's command."""
    makefile = (CHECKOUT / "Makefile").read_text()
    for name, command in (("lock", "selectq merge-lock %O %A %B"), ("written", "true")):
        assert f"merge.selectq-{name}.driver" in makefile and command in makefile
    drivers = {"selectq-lock": f"{SELECTQ} merge-lock %O %A %B", "selectq-written": "true"}
    for name, command in drivers.items():
        small.git("config", f"merge.{name}.driver", command)
