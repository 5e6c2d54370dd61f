"""Files are whole or absent, the same bytes for the same content, and have one writer."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from selectq.errors import UserError
from selectq.files import (
    only_writer,
    read_json,
    read_tensors,
    sha256,
    write_csv,
    write_json,
    write_tensors,
    written_whole,
)

SOURCE = Path(__file__).resolve().parents[1] / "src"
TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2], dtype=torch.uint8)}


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.txt"
    with written_whole(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
        assert partial.parent == path.parent, "a rename is atomic within one file system only"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(OSError, match="No space") as error, written_whole(path) as partial:
        partial.symlink_to("/dev/full")
        partial.write_text("more than fits")
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_tensors(tmp_path / "one", TENSORS, {"x": 1, "y": [2]})
    write_tensors(tmp_path / "two", dict(reversed(TENSORS.items())), {"y": [2], "x": 1})
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")
    write_tensors(tmp_path / "three", TENSORS, {"x": 2, "y": [2]})
    assert sha256(tmp_path / "one") != sha256(tmp_path / "three")


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    learning = torch.ones(2, requires_grad=True)
    write_tensors(
        tmp_path / "file", {**TENSORS, "transposed": TENSORS["b"].T, "learning": learning}, {"classes": ["a"]}
    )
    tensors, metadata = read_tensors(tmp_path / "file")
    assert metadata == {"classes": ["a"]}
    assert set(tensors) == {"a", "b", "learning", "transposed"}
    assert torch.equal(tensors["transposed"], TENSORS["b"].T)
    assert tensors["a"].dtype == torch.uint8


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "pickle", "header"])
def test_damaged_tensors_are_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, TENSORS, {})
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        torch.save(TENSORS, path)
    else:
        path.write_bytes({"empty": b"", "truncated": whole[:-4], "header": b"\xff" * 8 + whole[8:]}[damage])
    with pytest.raises(UserError) as error:
        read_tensors(path)
    assert str(error.value).startswith(f"{path}: not a readable selectq file (")
    assert str(error.value).endswith("); run the stage that writes it")
    assert "\n" not in str(error.value)


def test_safetensors_of_another_origin_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    save_file(TENSORS, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not a readable selectq file"):
        read_tensors(tmp_path / "other.safetensors")


def test_json_is_sorted_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "out.json", {"b": 1.5, "a": {"d": [], "c": None}})
    assert (tmp_path / "out.json").read_text().index('"a"') < (tmp_path / "out.json").read_text().index('"b"')
    assert read_json(tmp_path / "out.json") == {"b": 1.5, "a": {"d": [], "c": None}}
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json(tmp_path / "nan.json", {"a": float("nan")})
    assert not (tmp_path / "nan.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.json: cannot be read \(.*\); run the stage that writes it$"):
        read_json(path)


def test_csv_is_rounded_with_plain_line_ends(tmp_path: Path) -> None:
    write_csv(tmp_path / "out.csv", pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, 2.0]}), digits=3)
    assert (tmp_path / "out.csv").read_bytes() == b"name,value\na,0.333\nb,2.0\n"


HOLD = """
import sys
from pathlib import Path
from selectq.files import only_writer

with only_writer(Path("models/fp32.safetensors")):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_second_writer_in_another_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("models/fp32.safetensors")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = (
            rf"^models/fp32\.safetensors: another process \(pid {holder.pid}\) is writing it; wait for it or stop it$"
        )
        with pytest.raises(UserError, match=message), only_writer(output):
            pass
        with only_writer(Path("models/other.safetensors")):
            pass
        holder.kill()
        holder.wait()
    with only_writer(output):
        pass  # the right ended with the process, though it was killed
