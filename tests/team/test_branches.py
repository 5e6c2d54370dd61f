"""The README's walk: a branch with another learning rate, compared with main; the same as an experiment."""

import csv
import io
import json

import yaml
from trivial_pipeline import FEW, Repository, set_parameter

RERUN = {"qat@dw", "convert@dw", "parity@dw", "table", "card@dw"}
NEW_RATE = 0.00077


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
