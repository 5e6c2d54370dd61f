"""What a killed DVC leaves cut short is put away, and nothing that it has under its hands."""

import fcntl
from collections.abc import Callable

import pytest
from people import complaint, damage_found, verified
from small_pipeline import MODEL, set_rate
from trivial_pipeline import Repository

RWLOCK = ".dvc/tmp/rwlock"


def cut(repository: Repository, size: int) -> None:
    repository.write("dvc.lock", repository.read("dvc.lock")[:size])


def test_own_lock_that_was_left_empty_is_removed(small: Repository) -> None:
    small.write(RWLOCK, "")
    assert "JSON structure is corrupted" in complaint(small), "the reason for this"
    assert f"removed: {RWLOCK}, which a killed DVC had left unreadable" in verified(small, mend=True)
    assert small.repro() == set()


@pytest.mark.parametrize("size", [0, 30])
def test_cut_lock_file_becomes_gits_copy(small: Repository, size: int) -> None:
    before = small.read("dvc.lock")
    cut(small, size)
    assert "dvc.lock" in complaint(small), "the reason for this"
    assert "replaced by git's copy: dvc.lock, which a killed DVC had left unreadable" in verified(small, mend=True)
    assert small.read("dvc.lock") == before
    assert small.repro() == set()


def test_what_ran_since_the_commit_is_restored(small: Repository) -> None:
    set_rate(small, "dw")
    small.repro()
    model = small.read(MODEL)
    cut(small, 0)
    verified(small, mend=True)
    assert "qat@dw" in small.repro()
    assert small.read(MODEL) == model, "restored, not run again"


def test_empty_folder_of_the_run_cache_is_removed(small: Repository) -> None:
    runs = [path for path in (small.root / ".dvc/cache/runs").rglob("*") if path.is_file()]
    for path in runs:
        path.unlink()
    (small.root / "dvc.lock").unlink()
    assert "join() argument" in complaint(small), "the reason for this"
    assert verified(small, mend=True).count("which a killed DVC had left empty") == len(runs) > 0
    assert "qat@dw" in small.repro()


def test_cut_lock_file_that_git_does_not_have_goes(small: Repository) -> None:
    model = small.read(MODEL)
    small.git("rm", "--quiet", "--cached", "dvc.lock")
    small.git("commit", "--quiet", "--message", "no lock")
    cut(small, 0)
    assert "removed: dvc.lock, which a killed DVC had left unreadable" in verified(small, mend=True)
    small.repro()
    assert small.read(MODEL) == model


@pytest.mark.parametrize("damage", [lambda small: None, lambda small: small.write("dvc.yaml", "stages: {a: 1}\n")])
def test_lock_file_that_dvc_can_read_stays(small: Repository, damage: Callable[[Repository], None]) -> None:
    before = small.read("dvc.lock")
    damage(small)
    verified(small, mend=True)
    assert small.read("dvc.lock") == before


def test_nothing_is_mended_while_dvc_is_at_work(small: Repository) -> None:
    small.write(RWLOCK, "")
    with (small.root / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refusal = damage_found(small, mend=True)
    assert refusal == "DVC is at work in .; wait for it to end, then try again"
    assert small.read(RWLOCK) == ""
