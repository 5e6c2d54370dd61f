"""A colleague gets everything that ran, from remotes of every kind, without a stage doing its work again."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Remote, message, selectq
from small_pipeline import LISTED, MODEL, OTHER_MODEL
from trivial_pipeline import SELECTQ, Repository, set_parameter

pytestmark = pytest.mark.slow  # minutes in all

Clone = Callable[[Repository, str], Repository]

RESULTS = ["data/images.safetensors", MODEL, OTHER_MODEL, LISTED, "models/compared.txt"]


def same_results(one: Repository, other: Repository) -> bool:
    return all(one.read(path) == other.read(path) for path in RESULTS)


def test_colleague_gets_everything_with_one_command(small: Repository, clone: Clone, remote: Remote) -> None:
    remote.add_to(small)
    selectq(small, "share")
    colleague = clone(small, "colleague")
    remote.add_to(colleague)
    said = selectq(colleague, "fetch").splitlines()
    assert len(said) == 1 and "files fetched from 'team'; the workspace is as `dvc repro` would make it" in said[0]
    assert same_results(small, colleague)
    assert colleague.repro() == set(), "nothing is left to run"


@pytest.mark.parametrize("remote", ["folder", "s3"], indirect=True)
def test_run_cache_stands_in_for_the_lock(small: Repository, clone: Clone, remote: Remote) -> None:
    """A colleague who has parameters and code, but not the lock of the run."""
    small.git("rm", "--quiet", "--cached", "dvc.lock")
    small.git("commit", "--quiet", "--message", "no lock")
    remote.add_to(small)
    selectq(small, "share")
    colleague = clone(small, "colleague")
    assert not (colleague.root / "dvc.lock").exists()
    remote.add_to(colleague)
    selectq(colleague, "fetch")
    assert same_results(small, colleague)


def local(work: Repository) -> Path:
    """A folder as the remote of a repository and of its clones."""
    folder = work.root.parent / "remote"
    folder.mkdir()
    Remote(str(folder)).add_to(work)
    work.git("commit", "--quiet", "--all", "--message", "a remote")
    return folder


def test_two_people_change_different_parameters_at_once(work: Repository, clone: Clone) -> None:
    """In the checkout's own pipeline."""
    local(work)
    selectq(work, "share")
    changes = {"one": set_parameter("qat.dw.lr", 0.00077), "two": set_parameter("qat.clf.lr", 0.00077)}
    people = {name: clone(work, name) for name in changes}
    for name, person in people.items():
        selectq(person, "fetch")
        person.edit_parameters(changes[name])
        person.repro()
    for person in people.values():
        selectq(person, "share")

    def both(parameters: dict[str, object]) -> None:
        for change in changes.values():
            change(parameters)

    third = clone(work, "third")
    third.edit_parameters(both)
    selectq(third, "fetch")
    for name, model in (("one", "dw"), ("two", "clf")):
        path = f"models/quantized/{model}.safetensors"
        assert third.read(path) == people[name].read(path) != work.read(path)


def test_half_pushed_cache_is_completed_by_sharing_again(small: Repository, clone: Clone) -> None:
    folder = local(small)
    selectq(small, "share")
    objects = sorted((folder / "files" / "md5").rglob("*/*"))
    listings = [path for path in objects if path.suffix == ".dir"]  # a folder's list is pushed after its files
    for path in {*objects[::2], *listings}:
        path.unlink()
    colleague = clone(small, "colleague")
    refused = message(colleague, "fetch")
    assert refused.startswith("error: not to be had from the remote 'team'")
    selectq(small, "share")
    selectq(colleague, "fetch")
    assert same_results(small, colleague)


def test_remote_that_is_gone_loses_nothing(small: Repository, clone: Clone) -> None:
    folder = local(small)
    colleague = clone(small, "colleague")
    shutil.rmtree(folder)
    folder.write_text("not a folder any more")
    assert message(small, "share").startswith("error: not everything reached the remote 'team', see above; nothing is")
    assert message(colleague, "fetch").startswith("error: not to be had from the remote 'team'")
    assert small.repro() == set(), "one's own results are where they were"
    folder.unlink()
    selectq(small, "share")
    selectq(colleague, "fetch")
    assert same_results(small, colleague)


@pytest.mark.parametrize("remote", ["ssh"], indirect=True)
def test_wrong_key_loses_nothing(small: Repository, clone: Clone, remote: Remote) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(small.root.parent / "other")], check=True)
    stranger = {**remote.settings, "keyfile": str(small.root.parent / "other")}
    Remote(remote.url, stranger).add_to(small)
    refused = small.selectq("share")
    assert refused.status == 2 and "Permission denied" in refused.err and "Traceback" not in refused.err
    assert small.repro() == set()
    remote.add_to(small)
    selectq(small, "share")


def test_fetching_costs_at_most_twice_a_pull(work: Repository, clone: Clone) -> None:
    """In processor time, so that a busy machine changes little."""
    local(work)
    selectq(work, "share")
    fetched = processor_time(clone(work, "one"), str(SELECTQ), "fetch")
    assert fetched <= 2 * processor_time(clone(work, "other"), sys.executable, "-m", "dvc", "pull")


def processor_time(repository: Repository, *command: str) -> float:
    """That of a command, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, cwd=repository.root, env=repository.environment, capture_output=True, check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def test_fetching_runs_no_stage(small: Repository, clone: Clone) -> None:
    local(small)
    selectq(small, "share")
    colleague = clone(small, "colleague")
    colleague.edit_parameters(set_parameter("qat.dw.lr", 0.00077))
    refused = message(colleague, "fetch")
    assert refused.startswith("error: not to be had from the remote 'team': qat@dw; what does not need these is in p")
    assert not (colleague.root / "models/quantized/dw.safetensors").exists()
    assert colleague.read("models/quantized/clf.safetensors") == small.read("models/quantized/clf.safetensors")
    assert "qat@dw" in colleague.repro(), "running it is one's own decision"


def test_without_a_remote_both_say_how_to_name_one(small: Repository) -> None:
    for command in ("share", "fetch"):
        assert message(small, command) == (
            "error: no remote is the default; add one: dvc remote add --default NAME URL"
        )
    assert small.dvc("remote", "add", "other", "/tmp").status == 0
    assert message(small, "share") == "error: no remote is the default; name one of other: dvc remote default NAME"
