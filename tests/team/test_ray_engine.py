"""The pipeline on a real Ray cluster: several nodes on this machine, one of which dies in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Remote, wait_for
from trivial_pipeline import SELECTQ, STAGE, Repository, set_parameter

from selectq.errors import UserError
from selectq.team.ray_engine import ray_engine

ray = pytest.importorskip("ray")

NODES = 3

SLOW = """
import os, time
if "models/quantized/dw.safetensors" in sys.argv:
    here = Path("ATTEMPTS")
    attempt = len(list(here.iterdir())) + 1
    (here / str(attempt)).write_text(str(os.getpid()))
    if attempt == 1:
        time.sleep(600)
"""
"""The first attempt at qat@dw never ends by itself."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of nodes with a processor each."""
    environment = {**os.environ, "RAY_TMPDIR": "/tmp", "RAY_DISABLE_IMPORT_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    ray_command = [str(Path(sys.executable).parent / "ray")]
    quiet = ["--disable-usage-stats", "--num-cpus=1"]
    head = [*ray_command, "start", "--head", "--port=0", "--include-dashboard=false", *quiet]
    started = subprocess.run(head, env=environment, capture_output=True, text=True, check=True).stdout
    address = next(word.strip("'\" ") for word in started.split("--address=")[1:]).split()[0].strip("'")
    try:
        for _ in range(NODES - 1):
            joined = [*ray_command, "start", f"--address={address}", *quiet]
            subprocess.run(joined, env=environment, capture_output=True, check=True)
        yield address
    finally:
        subprocess.run([*ray_command, "stop", "--force"], env=environment, capture_output=True, check=True)


@pytest.mark.slow
def test_killed_worker_is_replaced_and_one_lock_is_written(
    small: Repository, clone: Callable[[Repository, str], Repository], cluster: str
) -> None:
    folder, attempts = small.root.parent / "remote", small.root.parent / "attempts"
    for path in (folder, attempts):
        path.mkdir()
    Remote(str(folder)).add_to(small)
    small.write("trivial.py", STAGE.replace("run(main)", SLOW.replace("ATTEMPTS", str(attempts)) + "\nrun(main)"))
    small.edit_parameters(set_parameter("qat.dw.lr", 0.00077))
    small.git("commit", "--quiet", "--all", "--message", "a new rate, and a remote")
    before = small.read("models/quantized/dw.safetensors")

    options = ["--engine", "ray", "--address", cluster, "--jobs", str(NODES), "--repository", str(small.root)]
    command = [str(SELECTQ), "fanout", *options, "--folder", str(small.root.parent / "workers")]
    with subprocess.Popen(command, cwd=small.root, env=small.environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            victim = wait_for(
                lambda: next((int(path.read_text() or 0) for path in attempts.iterdir()), 0), "no stage has started"
            )
            for pid in ancestors(victim):
                os.kill(pid, signal.SIGKILL)
            said, _ = running.communicate(timeout=200)
        finally:
            running.kill()
    assert running.returncode == 0, said
    assert len(list(attempts.iterdir())) == 2, "a second worker took over"
    assert "done: qat@dw" in said
    assert small.read("models/quantized/dw.safetensors") != before
    assert small.repro() == set()
    small.git("commit", "--quiet", "--all", "--message", "the lock")
    colleague = clone(small, "colleague")
    assert colleague.selectq("fetch").status == 0
    assert colleague.read("models/quantized/dw.safetensors") == small.read("models/quantized/dw.safetensors")


def ancestors(pid: int) -> list[int]:
    """A stage's process, DVC's, and the Ray worker's above them."""
    found = [pid]
    while "ray::" not in Path(f"/proc/{found[-1]}/cmdline").read_text():
        found.append(int(Path(f"/proc/{found[-1]}/stat").read_text().rsplit(")", 1)[1].split()[1]))
        assert found[-1] > 1, f"{found} has no Ray worker above it"
    return found


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "auto"])
def test_cluster_that_is_not_there_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    with pytest.raises(UserError, match=f"^no Ray cluster at '{address}': "):
        ray_engine(address)
