"""The command: the page on the screen and in `results/`, and a regime that was not run."""

import shutil
from pathlib import Path

import pytest
from brightest import Command


@pytest.fixture
def copy(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parameters and the results of the checkout, without any profile's."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(checkout / name, tmp_path)
    shutil.copytree(checkout / "results", tmp_path / "results", ignore=lambda *_: ["skewed", "few_bits", "controls"])
    shutil.copytree(checkout / "plots", tmp_path / "plots")
    (tmp_path / "profiles").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_page_is_printed_and_written(copy: Path, selectq: Command) -> None:
    printed = selectq("claims").out
    assert (copy / "results/claims.md").read_text(encoding="utf-8") == printed
    assert "| plain W8A8" in printed and "not run" in printed


def test_run_without_what_a_claim_asks(copy: Path, selectq: Command) -> None:
    contrasts = copy / "results/contrasts.csv"
    kept = [line for line in contrasts.read_text().splitlines(keepends=True) if not line.startswith("dwpw_asym,full")]
    contrasts.write_text("".join(kept))
    assert selectq.refusal("claims").startswith("results: dwpw_asym - full is there 0 times; name it under")


def test_table_that_is_missing(copy: Path, selectq: Command) -> None:
    (copy / "results/methods.csv").unlink()
    assert selectq.refusal("claims").startswith("results/methods.csv: cannot be read (")
