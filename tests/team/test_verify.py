"""Damage in the cache and in the workspace is found, named, and mended."""

import os
from pathlib import Path

import pytest
from people import selectq
from trivial_pipeline import Repository

from selectq.team.cache import file_md5, object_path

MODEL = "models/quantized/dw.safetensors"
LISTED = "models/int8/dw/file.txt"


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


def test_healthy_cache(work: Repository) -> None:
    count, *words = work.selectq("verify").stdout.split()
    assert int(count) > 40 and " ".join(words) == "files hold what their hashes say"


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_damaged_object_is_named_and_replaced_by_the_workspaces_copy(work: Repository, path: str) -> None:
    stored, content = cached(work, path), work.read(path)
    damage(stored)
    found = work.selectq("verify")
    assert found.returncode == 2
    assert f"damaged object: {stored.relative_to(work.root)}, which is {path} (" in found.stdout
    assert found.stderr.splitlines()[-1].endswith(
        "`selectq verify --mend` removes them, then `selectq fetch` or `dvc repro` restores them"
    )
    assert f"replaced by {path}" in selectq(work, "verify", "--mend")
    assert stored.read_text() == content and not stored.stat().st_mode & 0o222
    selectq(work, "verify")


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_damaged_output_is_replaced_from_the_cache(work: Repository, path: str) -> None:
    content = work.read(path)
    assert work.repro() == set(), "DVC has seen every file as it is"
    damage(work.root / path)
    assert f"damaged output: {path} (" in work.selectq("verify").stdout
    assert f"replaced from the cache: {path}" in selectq(work, "verify", "--mend")
    assert work.read(path) == content
    selectq(work, "verify")


@pytest.mark.parametrize("path", [MODEL, LISTED])
def test_output_that_was_written_since_is_left_alone(work: Repository, path: str) -> None:
    """Such as that of a stage that was run without DVC, and is yet to be committed."""
    work.write(path, "hours of work")
    said = selectq(work, "verify", "--mend")
    assert f"changed, as DVC sees by itself: {path} (`dvc commit " in said
    assert work.read(path) == "hours of work"


def test_what_is_damaged_everywhere_is_removed_and_runs_again(work: Repository) -> None:
    """DVC alone installs the damaged object and finds nothing wrong."""
    stored = cached(work, MODEL)
    assert work.repro() == set(), "DVC has seen every file as it is"
    damage(stored)
    damage(work.root / MODEL)
    assert work.repro() == set(), "the reason for this command"
    assert "removed: " + MODEL in selectq(work, "verify", "--mend")
    assert not stored.exists() and not (work.root / MODEL).exists()
    assert "qat@dw" in work.repro()
    selectq(work, "verify")


def test_damaged_list_of_a_folder_is_found(work: Repository) -> None:
    (listing,) = {path for path in (work.root / ".dvc/cache/files/md5").rglob("*.dir") if "dw" in _outputs(work, path)}
    damage(listing)
    assert "which is models/int8/dw (convert@dw)" in work.selectq("verify").stdout
    selectq(work, "verify", "--mend")
    assert not listing.exists()
    assert "Traceback" not in work.dvc("repro").stderr


def test_fresh_clone_says_what_is_missing(work: Repository, tmp_path: Path) -> None:
    work.git("clone", "--quiet", str(work.root), str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    said = clone.selectq("verify")
    assert "neither here nor in the cache: outputs of download, finetune_fp32, " in said.stdout
    assert said.returncode == 2 and said.stderr.splitlines()[-1].endswith(
        "outputs are missing; `selectq fetch` gets what was shared, `dvc repro` makes the rest"
    )


def test_link_to_an_object_that_is_gone_is_removed_and_runs_again(work: Repository) -> None:
    """DVC stops at such a link."""
    stored = cached(work, MODEL)
    stored.unlink()
    (work.root / MODEL).unlink()
    (work.root / MODEL).symlink_to(stored)
    assert f"damaged output: {MODEL} (qat@dw)" in work.selectq("verify").stdout
    assert f"removed: {MODEL}" in selectq(work, "verify", "--mend")
    assert "qat@dw" in work.repro()


def _outputs(repository: Repository, listing: Path) -> set[str]:
    """The last names of the folders that an object lists."""
    lock = repository.read("dvc.lock")
    md5 = listing.parent.name + listing.name
    lines = lock.splitlines()
    return {lines[index - 2].split("/")[-1] for index, line in enumerate(lines) if md5 in line}
