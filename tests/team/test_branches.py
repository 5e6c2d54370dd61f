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
from small_pipeline import MODEL, NEW_RATE, RATE, RERUN, set_rate
from trivial_pipeline import CHECKOUT, Repository

TIMEOUT_S = 300


def ask(repository: Repository, *arguments: str) -> str:
    answer = repository.dvc(*arguments)
    assert answer.status == 0, answer.out + answer.err
    return answer.out


def experiments(repository: Repository) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show` by the experiment's, or else the branch's, name."""
    table = csv.DictReader(io.StringIO(ask(repository, "exp", "show", "--csv")))
    return {row["Experiment"] or row["rev"]: row for row in table}


def test_branch_runs_what_it_changes_and_compares_with_main(small: Repository) -> None:
    small.git("switch", "--quiet", "--create", "try-lr")
    set_rate(small, "dw")
    assert small.repro() == RERUN
    small.git("commit", "--quiet", "--all", "--message", "another rate")

    changed = json.loads(ask(small, "params", "diff", "main", "--json"))
    assert changed == {"params.yaml": {"qat.dw.lr": {"old": RATE, "new": NEW_RATE, "diff": NEW_RATE - RATE}}}
    assert list(json.loads(ask(small, "metrics", "diff", "main", "--json"))) == ["metrics/summary.json"]


def test_metrics_are_one_file_of_headline_figures() -> None:
    stages = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"]
    metrics = [each for body in stages.values() for each in body.get("do", body).get("metrics", [])]
    assert metrics == [{"metrics/summary.json": {"cache": False}}]


def test_experiment_runs_what_it_changes(small: Repository) -> None:
    before = small.read(MODEL)
    said = ask(small, "exp", "run", "--name", "faster", "--set-param", f"qat.dw.lr={NEW_RATE}")
    assert "Running stage 'qat@dw'" in said and "Running stage 'qat@clf'" not in said
    assert yaml.safe_load(small.read("params.yaml"))["qat"]["dw"]["lr"] == NEW_RATE
    assert small.read(MODEL) != before
    rows = experiments(small)
    assert {name: float(rows[name]["qat.dw.lr"]) for name in ("faster", "main")} == {"faster": NEW_RATE, "main": RATE}
    assert rows["faster"]["value"] != rows["main"]["value"]


def queued(repository: Repository) -> dict[str, str]:
    """What became of the queue's experiments, by name: Queued, Running, Success or Failed."""
    return dict(re.findall(r"^[0-9a-f]{7}\s+(\w+)\s.*?(\w+)\s*$", ask(repository, "queue", "status"), re.MULTILINE))


def start_workers(repository: Repository, count: int) -> None:
    """Without reading what they say: the pipe would be open until the last of them ends."""
    command = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(count)]
    nothing = subprocess.DEVNULL
    subprocess.run(command, cwd=repository.root, env=repository.environment, stdout=nothing, stderr=nothing, check=True)


def processes_in(repository: Repository) -> list[psutil.Process]:
    """The processes whose folder is the repository or below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(repository.root.resolve()):
                found.append(process)
    return found


@pytest.fixture
def workshop(small: Repository) -> Iterator[Repository]:
    """A repository of which no process is left after the test, however that ends."""
    yield small
    small.dvc("queue", "stop", "--kill")
    _, remaining = psutil.wait_procs(processes_in(small), timeout=30)
    for process in remaining:
        process.kill()


@pytest.mark.slow
def test_workers_run_queued_experiments_in_the_background(workshop: Repository) -> None:
    rates = {"slower": 0.0001, "faster": NEW_RATE}
    before = workshop.read(MODEL)
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
    assert workshop.read(MODEL) == before

    ask(workshop, "queue", "stop", "--kill")
    psutil.wait_procs(processes_in(workshop), timeout=30)
    assert not processes_in(workshop)
