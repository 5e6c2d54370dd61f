"""The stage as a user runs it: exit status, one line, and no output that is not whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from stage_process import run_stage
from stand_ins import Server, image_files, pack_zip

from selectq.config.load import load_params, overlay, read_yaml
from selectq.data.packed import write_dataset
from selectq.data.sources import load_dataset

OUTPUT = Path("data/images.safetensors")
DIGITS = {"name": "digits", "validation_images": 150}


def prepare(checkout: Path, data: Mapping[str, Any]) -> None:
    """Write the working directory's params.yaml: the committed one with other data."""
    document = overlay(read_yaml(checkout / "params.yaml"), {"data": data})
    Path("params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def start(checkout: Path, offline: str, folders: str) -> subprocess.Popen[str]:
    """Start the stage; beyond 127.0.0.1 its network is a proxy that does not answer."""
    return subprocess.Popen(
        [sys.executable, checkout / "stages/download.py"],
        env={**os.environ, "SELECTQ_DATA": folders, "https_proxy": offline},
        text=True,
        stderr=subprocess.PIPE,
    )


def refusal(offline: str, folders: str = "") -> list[str]:
    """The lines of stderr of a run that ends with a user's mistake."""
    ended = run_stage("download", folder=Path(), SELECTQ_DATA=folders, https_proxy=offline)
    assert ended.status == 2
    return ended.err.splitlines()


def leftovers() -> list[str]:
    """Every file below the working directory that is neither a parameter file nor a lock."""
    return [str(path) for path in Path().rglob("*") if path.is_file() and path.suffix not in (".yaml", ".lock", ".zip")]


@pytest.mark.slow
def test_output_is_the_same_from_any_process_and_survives_a_failed_run(checkout: Path, here: Path, closed: str) -> None:
    prepare(checkout, DIGITS)
    with start(checkout, closed, "") as process:
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    write_dataset(here / "expected", load_dataset(load_params().data, []))
    assert OUTPUT.read_bytes() == (here / "expected").read_bytes()
    prepare(checkout, DIGITS | {"validation_images": 5000})
    (line,) = refusal(closed)
    assert line.startswith("error: data.validation_images: 5000 is out of range; allowed: 10 to 1337, ")
    assert OUTPUT.read_bytes() == (here / "expected").read_bytes()


def test_damaged_archive_is_one_line(checkout: Path, here: Path, closed: str) -> None:
    archive = pack_zip(here / "bad.zip", image_files())
    archive.write_bytes(archive.read_bytes()[:3000])
    prepare(checkout, {"name": "imagefolder", "imagefolder": {"source": "bad.zip", "archive_sha256": None}})
    (line,) = refusal(closed, str(here))
    assert line.startswith("error: bad.zip: damaged, or neither a zip nor a tar")
    assert leftovers() == []


def test_no_network_is_one_error_after_the_notices(checkout: Path, here: Path, server: Server, closed: str) -> None:
    prepare(checkout, {"name": "cifar10", "cifar10": {"mirrors": [server.url]}})
    lines = refusal(closed)
    assert [line.split(":")[0] for line in lines] == ["notice", "notice", "error"]
    assert lines[2].startswith(
        f"error: cifar-10-python.tar.gz cannot be had: {server.url}/cifar-10-python.tar.gz: HTTP 404"
    )
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz: " in lines[2]
    assert leftovers() == []


def test_stopped_download_leaves_nothing(checkout: Path, here: Path, silent: str, closed: str) -> None:
    prepare(checkout, {"name": "cifar10", "cifar10": {"mirrors": [silent]}})
    process = start(checkout, closed, "")
    while not leftovers():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 143
    assert leftovers() == []
