"""Jobs on this machine end with the command that started them."""

import os
import signal
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from people import wait_for
from processes import wait_until_gone
from small_checkout import write_checkout
from trivial_pipeline import SELECTQ, Repository

from selectq.team.processes import ENDED, ended_together

STAGES = """
stages:
  each:
    matrix:
      name: [a, b, c, d]
    cmd: python stages/wait.py ${item.name}
    deps: [stages/wait.py]
    outs: ["models/${item.name}"]
"""

WAITING = """
import os, sys, time
from pathlib import Path
Path(os.environ["STARTED"], sys.argv[1]).write_text(str(os.getpid()))
time.sleep(300)
"""


def test_behind_an_exception_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ended_together() as run:
        assert run(["touch", "before"], tmp_path, os.environ) == 0
        raise RuntimeError
    assert run(["touch", "after"], tmp_path, os.environ) == ENDED
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_behind_an_exception_nothing_goes_on(tmp_path: Path) -> None:
    slow_to_end = "touch begun; trap 'sleep 1; touch ended; exit' TERM; while :; do sleep 0.1; done"
    with pytest.raises(RuntimeError), ended_together() as run:
        Thread(target=run, args=(["sh", "-c", slow_to_end], tmp_path, os.environ)).start()
        wait_for((tmp_path / "begun").exists, "the command")
        raise RuntimeError
    assert (tmp_path / "ended").exists()


def test_ending_the_command_ends_its_jobs_and_begins_no_other(tmp_path: Path) -> None:
    own, started = Repository(tmp_path / "own"), tmp_path / "started"
    started.mkdir()
    write_checkout(own.root, {"dvc.yaml": STAGES, "stages/wait.py": WAITING, "profiles/some.yaml": "seed: 7\n"})
    own.git("init", "--quiet")
    command = [str(SELECTQ), "fanout", "--jobs", "2"]
    environment = {**own.environment, "STARTED": str(started)}
    with subprocess.Popen(command, cwd=own.root, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len([path for path in started.iterdir() if path.read_text()]) == 2, "two jobs")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()
    pids = [int(path.read_text()) for path in started.iterdir()]
    assert len(pids) == 2, "a job began after the end"
    for pid in pids:
        wait_until_gone(pid)
