"""The packed file: what was written is read, and nothing else passes for it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selectq.data.packed import SPLITS, Dataset, Split, read_dataset, write_dataset
from selectq.errors import UserError
from selectq.files import write_tensors


def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    splits = [
        Split(
            torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator),
            torch.randint(0, 2, (count,), generator=generator),
        )
        for count in (6, 3, 2)
    ]
    return Dataset(*splits, classes=("cat", "dög"), origin={"name": "digits"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_dataset(tmp_path / "packed", dataset())
    found = read_dataset(tmp_path / "packed")
    assert (found.classes, found.origin) == (("cat", "dög"), {"name": "digits"})
    for name in SPLITS:
        assert torch.equal(getattr(found, name).images, getattr(dataset(), name).images)
        assert torch.equal(getattr(found, name).labels, getattr(dataset(), name).labels)


READER = """
import sys
from pathlib import Path
import torch
from selectq.data.packed import read_dataset

def own_memory():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024

before = own_memory()
split = read_dataset(Path(sys.argv[1])).to(torch.device("cpu")).train
seen = sum(len(split.pixels(chosen)) for chosen in torch.arange(len(split)).split(1000))
print(seen, own_memory() - before)
"""
"""Reads every image once; prints how many, and by how many bytes the memory grew that is not of the file."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.slow
def test_images_stay_in_the_file_until_they_are_used(tmp_path: Path, checkout: Path) -> None:
    """Neither reading nor a batch takes memory that the system cannot take back."""
    images, small = torch.zeros(40_000, 3, 32, 32, dtype=torch.uint8), dataset()
    write_dataset(tmp_path / "packed", dataclasses.replace(small, train=Split(images, torch.arange(40_000))))
    command = [sys.executable, "-c", READER, str(tmp_path / "packed")]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    seen, grown = map(int, said.split())
    assert seen == 40_000 and grown < images.nbytes / 2, f"{grown} of {images.nbytes} bytes"


def test_parts_and_chunks_are_the_images() -> None:
    split = dataset().train
    assert torch.equal(torch.cat(list(split.chunks(4))), split.images)
    part = split.part(slice(1, None, 2))
    assert torch.equal(part.images, split.images[1::2]) and torch.equal(part.labels, split.labels[1::2])


def test_same_content_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dataset(tmp_path / name, dataset())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_file_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "other", {"x": torch.zeros(1)}, {"classes": [], "origin": {}})
    with pytest.raises(
        UserError, match=r"not a packed data set \('train.images' is missing\); run the download stage$"
    ):
        read_dataset(tmp_path / "other")


@pytest.mark.parametrize("share", [0, 0.01, 0.9])
def test_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    write_dataset(tmp_path / "packed", dataset())
    content = (tmp_path / "packed").read_bytes()
    (tmp_path / "packed").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"packed: not a readable selectq file"):
        read_dataset(tmp_path / "packed")


def test_sample_is_the_seed_s_and_repeats_nothing() -> None:
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 1, 1)
    split = Split(images, torch.arange(20))
    one, same, other = (split.sample(15, seed).labels.tolist() for seed in (0, 0, 1))
    assert one == same != other and len(set(one)) == 15
    assert split.sample(15, 0).images[:, 0, 0, 0].tolist() == one
