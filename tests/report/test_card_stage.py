"""The card's stage as a user runs it: one card, the same bytes twice, faults in one line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from stage_process import Ended, run_stage

CARD = "results/cards/channel.md"


@pytest.fixture
def shipped_folder(run_folder: Path) -> Path:
    """A made-up run with the shipped models' files, which a test may change."""
    made_up.write_shipped(run_folder)
    return run_folder


def test_card_is_written_and_said(shipped_folder: Path) -> None:
    assert run_stage("card", "--name", "channel", folder=shipped_folder) == Ended(0, f"wrote {CARD}\n", "")
    assert [path.name for path in (shipped_folder / "results/cards").iterdir()] == ["channel.md"]
    text = (shipped_folder / CARD).read_text()
    assert text.startswith("# channel: mobilenet_v2 W8A8, 32 × 32 pixels\n")
    assert "1.00 ms per image" in text, "the latencies are found"


def test_other_configurations_are_not_needed(shipped_folder: Path) -> None:
    for path in (shipped_folder / "metrics").rglob("*"):
        if path.is_file() and path.name.partition(".")[0] not in ("fp32", "channel"):
            path.unlink()
    shutil.rmtree(shipped_folder / "benchmarks")
    assert run_stage("card", "--name", "channel", folder=shipped_folder).status == 0
    assert "Not measured." in (shipped_folder / CARD).read_text()


def test_same_files_same_bytes(checkout: Path, shipped_folder: Path, tmp_path: Path) -> None:
    again = shutil.copytree(shipped_folder, tmp_path / "again")
    for number, path in enumerate(sorted((again / "benchmarks/results").iterdir())):
        os.utime(path, (1_000_000 * number, 1_000_000 * (9 - number)))
    assert run_stage("card", "--name", "channel", folder=shipped_folder).status == 0
    command = [sys.executable, checkout / "stages" / "card.py", "--name", "channel"]
    subprocess.run(command, cwd=again, env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    assert (again / CARD).read_bytes() == (shipped_folder / CARD).read_bytes()


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("full", lambda folder: None, "--name full: no such configuration under ship; allowed: dwpw_asym, channel"),
        (
            "channel",
            lambda folder: (folder / "metrics/parity/channel.json").unlink(),
            "metrics/parity/channel.json: cannot be read",
        ),
        (
            "channel",
            lambda folder: (folder / "models/int8/channel/channel.pte").unlink(),
            "models/int8/channel/channel.pte: no such file",
        ),
        (
            "channel",
            lambda folder: (folder / "benchmarks/results/int8_acme-4c-vnni_onnxruntime-1.32.0.csv").write_text("x"),
            "benchmarks/results/int8_acme-4c-vnni_onnxruntime-1.32.0.csv: column case is missing",
        ),
    ],
    ids=["not shipped", "no parity", "no file", "damaged latencies"],
)
def test_fault_is_one_line_and_nothing_is_written(
    name: str, spoil: Callable[[Path], object], message: str, shipped_folder: Path
) -> None:
    spoil(shipped_folder)
    ended = run_stage("card", "--name", name, folder=shipped_folder)
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith(f"error: {message}")
    assert not (shipped_folder / "results" / "cards").exists()
