"""What a killed DVC leaves cut short is put away, and nothing that it has under its hands."""

import fcntl
from collections.abc import Callable

import pytest
from people import message, selectq
from trivial_pipeline import Repository, set_parameter

RWLOCK = ".dvc/tmp/rwlock"
MEND = ("verify", "--mend")


def cut(repository: Repository, size: int) -> None:
    repository.write("dvc.lock", repository.read("dvc.lock")[:size])


def test_own_lock_that_was_left_empty_is_removed(work: Repository) -> None:
    work.write(RWLOCK, "")
    assert "JSON structure is corrupted" in work.dvc("repro").stderr, "the reason for this"
    assert f"removed: {RWLOCK}, which a killed DVC had left unreadable" in selectq(work, *MEND)
    assert work.repro() == set()


@pytest.mark.parametrize("size", [0, 30])
def test_cut_lock_file_becomes_gits_copy(work: Repository, size: int) -> None:
    before = work.read("dvc.lock")
    cut(work, size)
    assert "dvc.lock" in work.dvc("repro").stderr, "the reason for this"
    assert "replaced by git's copy: dvc.lock, which a killed DVC had left unreadable" in selectq(work, *MEND)
    assert work.read("dvc.lock") == before
    assert work.repro() == set()


def test_what_ran_since_the_commit_is_restored(work: Repository) -> None:
    work.edit_parameters(set_parameter("qat.dw.lr", 0.00077))
    work.repro()
    model = work.read("models/quantized/dw.safetensors")
    cut(work, 0)
    selectq(work, *MEND)
    assert "qat@dw" in work.repro()
    assert work.read("models/quantized/dw.safetensors") == model, "restored, not run again"


def test_empty_folder_of_the_run_cache_is_removed(work: Repository) -> None:
    work.edit_parameters(set_parameter("qat.dw.lr", 0.00077))
    work.repro()
    runs = [path for path in (work.root / ".dvc/cache/runs").rglob("*") if path.is_file()]
    for path in runs:
        path.unlink()
    (work.root / "dvc.lock").unlink()
    assert "join() argument" in work.dvc("repro").stderr, "the reason for this"
    assert selectq(work, *MEND).count("which a killed DVC had left empty") == len(runs)
    assert "qat@dw" in work.repro()


def test_cut_lock_file_that_git_does_not_have_goes(work: Repository) -> None:
    model = work.read("models/quantized/dw.safetensors")
    work.git("rm", "--quiet", "--cached", "dvc.lock")
    work.git("commit", "--quiet", "--message", "no lock")
    cut(work, 0)
    assert "removed: dvc.lock, which a killed DVC had left unreadable" in selectq(work, *MEND)
    work.repro()
    assert work.read("models/quantized/dw.safetensors") == model


@pytest.mark.parametrize("damage", [lambda work: None, lambda work: work.write("dvc.yaml", "stages: {a: 1}\n")])
def test_lock_file_that_dvc_can_read_stays(work: Repository, damage: Callable[[Repository], None]) -> None:
    before = work.read("dvc.lock")
    damage(work)
    work.selectq(*MEND)
    assert work.read("dvc.lock") == before


def test_nothing_is_mended_while_dvc_is_at_work(work: Repository) -> None:
    work.write(RWLOCK, "")
    with (work.root / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert message(work, *MEND) == "error: DVC is at work in .; wait for it to end, then try again"
    assert work.read(RWLOCK) == ""
