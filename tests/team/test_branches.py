"""The README's walk: a branch with another learning rate, compared with main; the same as an experiment."""

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from trivial_pipeline import FEW, Repository, set_parameter

RERUN = {"qat@dw", "drift@dw", "convert@dw", "compare", "table", "card@dw"}
NEW_RATE = 0.00077
TIMEOUT_S = 300


def ask(work: Repository, *arguments: str) -> str:
    answer = work.dvc(*arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def experiments(work: Repository) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show` by the experiment's, or else the branch's, name."""
    table = csv.DictReader(io.StringIO(ask(work, "exp", "show", "--csv")))
    return {row["Experiment"] or row["rev"]: row for row in table}


def test_branch_runs_what_it_changes_and_compares_with_main(work: Repository) -> None:
    work.git("switch", "--quiet", "--create", "try-lr")
    work.edit_parameters(set_parameter("qat.dw.lr", NEW_RATE))
    assert work.repro() == RERUN
    work.git("commit", "--quiet", "--all", "--message", "another rate")

    changed = json.loads(ask(work, "params", "diff", "main", "--json"))
    ((name, difference),) = changed["params.yaml"].items()
    assert (name, difference["old"], difference["new"]) == ("qat.dw.lr", FEW["qat"]["dw"]["lr"], NEW_RATE)
    metrics = json.loads(ask(work, "metrics", "diff", "main", "--json"))
    assert list(metrics) == ["metrics/summary.json"], "one file of headline figures, nothing beside it"


def test_experiment_runs_what_it_changes(work: Repository) -> None:
    before = work.read("models/quantized/dw.safetensors")
    said = ask(work, "exp", "run", "--name", "faster", "--set-param", f"qat.dw.lr={NEW_RATE}")
    assert "Running stage 'qat@dw'" in said and "Running stage 'qat@clf'" not in said
    assert yaml.safe_load(work.read("params.yaml"))["qat"]["dw"]["lr"] == NEW_RATE
    assert work.read("models/quantized/dw.safetensors") != before
    rows = experiments(work)
    assert float(rows["faster"]["qat.dw.lr"]) == NEW_RATE
    assert float(rows["main"]["qat.dw.lr"]) == FEW["qat"]["dw"]["lr"]
    assert rows["faster"]["value"] != rows["main"]["value"]


def test_queued_experiments_run_apart_from_the_workspace(work: Repository) -> None:
    rates = {"slower": 0.0001, "faster": NEW_RATE}
    before = work.read("models/quantized/dw.safetensors")
    for name, rate in rates.items():
        ask(work, "exp", "run", "--queue", "--name", name, "--set-param", f"qat.dw.lr={rate}")
    ask(work, "exp", "run", "--run-all")
    rows = experiments(work)
    assert {name: float(rows[name]["qat.dw.lr"]) for name in rates} == rates
    assert work.read("models/quantized/dw.safetensors") == before


def queued(work: Repository) -> dict[str, str]:
    """What became of the queue's experiments, by name: Queued, Running, Success or Failed."""
    return dict(re.findall(r"^[0-9a-f]{7}\s+(\w+)\s.*?(\w+)\s*$", ask(work, "queue", "status"), re.MULTILINE))


def start_workers(work: Repository, count: int) -> None:
    """Without reading what they say: the pipe would be open until the last of them ends."""
    command = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(count)]
    nothing = subprocess.DEVNULL
    subprocess.run(command, cwd=work.root, env=work.environment, stdout=nothing, stderr=nothing, check=True)


def processes_in(work: Repository) -> list[psutil.Process]:
    """The processes whose folder is the repository or below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(work.root.resolve()):
                found.append(process)
    return found


@pytest.fixture
def workshop(work: Repository) -> Iterator[Repository]:
    """A repository of which no process is left after the test, however that ends."""
    yield work
    work.dvc("queue", "stop", "--kill")
    _, remaining = psutil.wait_procs(processes_in(work), timeout=30)
    for process in remaining:
        process.kill()


@pytest.mark.slow
def test_workers_run_queued_experiments_in_the_background(workshop: Repository) -> None:
    rates = {"slower": 0.0001, "faster": NEW_RATE}
    before = workshop.read("models/quantized/dw.safetensors")
    for name, rate in rates.items():
        ask(workshop, "exp", "run", "--queue", "--name", name, "--set-param", f"qat.dw.lr={rate}")
    assert queued(workshop) == dict.fromkeys(rates, "Queued")
    start_workers(workshop, 2)
    deadline = time.monotonic() + TIMEOUT_S
    while set(queued(workshop).values()) & {"Queued", "Running"}:
        assert time.monotonic() < deadline, ask(workshop, "queue", "status")
        time.sleep(0.5)
    assert queued(workshop) == dict.fromkeys(rates, "Success")
    rows = experiments(workshop)
    assert {name: float(rows[name]["qat.dw.lr"]) for name in rates} == rates
    assert rows["faster"]["value"] != rows["slower"]["value"]
    assert workshop.read("models/quantized/dw.safetensors") == before

    ask(workshop, "queue", "stop", "--kill")
    psutil.wait_procs(processes_in(workshop), timeout=30)
    assert not processes_in(workshop)
