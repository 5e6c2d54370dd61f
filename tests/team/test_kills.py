"""What is left after DVC or a stage is killed: nothing that the next `dvc repro` stumbles over."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from people import selectq, wait_for
from small_pipeline import set_rate
from trivial_pipeline import STAGE, Repository, set_parameter

SLEEPING = """
import os, time
from pathlib import Path
if "models/quantized/dw.safetensors" in sys.argv and not Path("awake").exists():
    Path("asleep").write_text(str(os.getpid()))
    time.sleep(600)
"""

TRIALS = 6


def start(work: Repository) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dvc", "repro"]
    return subprocess.Popen(command, cwd=work.root, env=work.environment, stdout=subprocess.DEVNULL, text=True)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of another process's end")
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_stage_ends_with_the_dvc_that_ran_it(small: Repository, shell: str) -> None:
    small.environment["SHELL"] = shell
    small.write("trivial.py", STAGE.replace("def main():", "def main():" + _indented(SLEEPING)))
    set_rate(small, "dw")
    with start(small) as dvc:
        wait_for(lambda: bool((small.root / "asleep").exists() and small.read("asleep")), "the stage has not started")
        stage = int(small.read("asleep"))
        assert alive(stage)
        dvc.kill()
    wait_for(lambda: not alive(stage), "the stage has outlived DVC")
    small.write("awake", "")
    assert "qat@dw" in small.repro()
    assert small.repro() == set()


def _indented(code: str) -> str:
    return code.replace("\n", "\n    ")


@pytest.mark.slow
def test_killed_at_random_moments_ends_as_undisturbed(small: Repository) -> None:
    """DVC and its stage are killed together, again and again, while a change runs through the pipeline."""
    small.edit_parameters(set_parameter("data.split_seed", 7))
    moments = random.Random(0)
    for _ in range(TRIALS):
        with subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=small.root,
            env=small.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as dvc:
            time.sleep(moments.uniform(0.5, 3.0))
            if dvc.poll() is None:
                os.killpg(dvc.pid, signal.SIGKILL)
        small.selectq("verify", "--mend")  # of DVC's own lock, which it writes in place
    small.repro()
    assert small.repro() == set()
    selectq(small, "verify")
