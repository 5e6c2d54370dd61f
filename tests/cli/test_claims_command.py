"""The command: the pages that it writes, and what stops it."""

import shutil
from pathlib import Path

import pytest
from brightest import Command


@pytest.fixture
def copy(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command reads of the checkout."""
    for name in ("dvc.yaml", "README.md"):
        shutil.copy(checkout / name, tmp_path)
    shutil.copytree(checkout / "results", tmp_path / "results")
    (tmp_path / "profiles").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pages_are_written_and_named(copy: Path, selectq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectq.cli.claims.written_pages", lambda *_: {"docs/results.md": "# Results\n"})
    assert selectq("claims").out == "docs/results.md\n"
    assert (copy / "docs/results.md").read_text() == "# Results\n"


def test_run_without_what_a_claim_asks(copy: Path, selectq: Command) -> None:
    contrasts = copy / "results/cifar10/contrasts.csv"
    kept = [line for line in contrasts.read_text().splitlines(keepends=True) if not line.startswith("dwpw_asym,full")]
    contrasts.write_text("".join(kept))
    assert selectq.refusal("claims").startswith("results/cifar10: dwpw_asym - full is there 0 times; name it under")


def test_table_that_is_missing(copy: Path, selectq: Command) -> None:
    (copy / "results/skewed/methods.csv").unlink()
    assert selectq.refusal("claims").startswith("results/skewed/methods.csv: cannot be read (")
