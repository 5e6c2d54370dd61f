"""Damage in the cache and in the workspace is found, named, and mended."""

import os
from pathlib import Path

import pytest
from people import damage_found, verified
from small_pipeline import LISTED, MODEL
from trivial_pipeline import Repository

from selectq.team.cache import file_md5, object_path


def cached(repository: Repository, path: str) -> Path:
    return object_path(repository.root / ".dvc" / "cache", file_md5(repository.root / path))


def damage(path: Path) -> None:
    """Flip a bit and keep size, times and rights, as a failing disk does."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[3] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_healthy_cache(small: Repository) -> None:
    count, *words = small.selectq("verify").out.split()
    assert int(count) >= 2 * 6 and " ".join(words) == "files hold what their hashes say", "outputs, and their objects"


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_damaged_object_is_named_and_replaced_by_the_workspaces_copy(small: Repository, path: str) -> None:
    stored, content = cached(small, path), small.read(path)
    damage(stored)
    found = damage_found(small)
    assert f"damaged object: {stored.relative_to(small.root)}, which is {path} (" in found
    assert found.endswith("`selectq verify --mend` removes them, then `selectq fetch` or `dvc repro` restores them")
    assert f"replaced by {path}" in verified(small, mend=True)
    assert stored.read_text() == content and not stored.stat().st_mode & 0o222
    verified(small)


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_damaged_output_is_replaced_from_the_cache(small: Repository, path: str) -> None:
    content = small.read(path)
    assert small.repro() == set(), "DVC has seen every file as it is"
    damage(small.root / path)
    assert f"damaged output: {path} (" in damage_found(small)
    assert f"replaced from the cache: {path}" in verified(small, mend=True)
    assert small.read(path) == content
    verified(small)


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_output_that_was_written_since_is_left_alone(small: Repository, path: str) -> None:
    """Such as that of a stage that was run without DVC, and is yet to be committed."""
    small.write(path, "hours of small")
    said = verified(small, mend=True)
    assert f"changed, as DVC sees by itself: {path} (`dvc commit " in said
    assert small.read(path) == "hours of small"


def test_what_is_damaged_everywhere_is_removed_and_runs_again(small: Repository) -> None:
    """DVC alone installs the damaged object and finds nothing wrong."""
    stored = cached(small, MODEL)
    assert small.repro() == set(), "DVC has seen every file as it is"
    damage(stored)
    damage(small.root / MODEL)
    assert small.repro() == set(), "the reason for this command"
    assert "removed: " + MODEL in verified(small, mend=True)
    assert not stored.exists() and not (small.root / MODEL).exists()
    assert "qat@dw" in small.repro()
    verified(small)


def test_damaged_list_of_a_folder_is_found(small: Repository) -> None:
    (listing,) = {
        path for path in (small.root / ".dvc/cache/files/md5").rglob("*.dir") if "clf" in _outputs(small, path)
    }
    damage(listing)
    assert "which is models/int8/clf (convert@clf)" in damage_found(small)
    verified(small, mend=True)
    assert not listing.exists()
    small.repro()


def test_fresh_clone_says_what_is_missing(small: Repository, tmp_path: Path) -> None:
    small.git("clone", "--quiet", str(small.root), str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    refused = clone.selectq("verify")
    assert "neither here nor in the cache: outputs of download, qat@clf, " in refused.out
    assert refused.status == 2 and refused.err.splitlines()[-1].endswith(
        "outputs are missing; `selectq fetch` gets what was shared, `dvc repro` makes the rest"
    )


def test_link_to_an_object_that_is_gone_is_removed_and_runs_again(small: Repository) -> None:
    """DVC stops at such a link."""
    stored = cached(small, MODEL)
    stored.unlink()
    (small.root / MODEL).unlink()
    (small.root / MODEL).symlink_to(stored)
    assert f"damaged output: {MODEL} (qat@dw)" in damage_found(small)
    assert f"removed: {MODEL}" in verified(small, mend=True)
    assert "qat@dw" in small.repro()


def _outputs(repository: Repository, listing: Path) -> set[str]:
    """The last names of the folders that an object lists."""
    lock = repository.read("dvc.lock")
    md5 = listing.parent.name + listing.name
    lines = lock.splitlines()
    return {lines[index - 2].split("/")[-1] for index, line in enumerate(lines) if md5 in line}
