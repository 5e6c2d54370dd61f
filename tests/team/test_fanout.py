"""Stages at the same time on a cluster, each in a clone of the commit; the checkout ends as after a `dvc repro`."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from people import Remote
from small_pipeline import MODEL, OTHER_MODEL, set_rate
from trivial_pipeline import FEW, Repository, write_repository

from selectq.errors import UserError
from selectq.team.fanout import fan_out, job_template, run_all
from selectq.team.job import Job, Outcome, work
from selectq.team.pipeline import dependencies, folder_inputs
from selectq.team.share import share


@pytest.fixture
def shared(small: Repository) -> Repository:
    """A repository with a new rate for one of its two models, and what ran on its remote."""
    Remote(str(small.root.parent / "remote")).add_to(small)
    set_rate(small, "dw")
    small.git("commit", "--quiet", "--all", "--message", "a new rate, and a remote")
    return small


def template(repository: Repository) -> Job:
    return job_template(repository.root, str(repository.root), str(repository.root.parent / "workers"), 1)


def test_worker_has_whole_folders_that_several_stages_fill(shared: Repository) -> None:
    """DVC alone stops at a folder of which it has nothing, and takes one for whole of which it has the new half."""
    own = template(shared)
    assert shared.repro("qat@dw") == {"qat@dw"}, "what another worker does"
    share(shared.root)
    with shared.opened() as repository:
        job = own.of("compare", folder_inputs(repository)["compare"])
    outcome = work(job)
    assert outcome.done, outcome.log
    assert shared.read(MODEL) in outcome.log and shared.read(OTHER_MODEL) in outcome.log


def test_stages_whose_results_are_kept_run_elsewhere_and_the_others_in_the_end(
    shared: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[Job] = []

    def engine(job: Job) -> Outcome:
        asked.append(job)
        return Outcome(job.stage, True, "")

    fan_out(shared.root, engine, 2, template(shared))
    assert {job.stage for job in asked} == {"download", "qat@clf", "qat@dw", "convert@clf", "compare"}
    assert {tuple(job.inputs) for job in asked} == {(), ("models/int8/clf", OTHER_MODEL, MODEL)}
    assert "Running stage 'table'" in capfd.readouterr().out
    assert shared.repro() == set(), "one lock, in the checkout, answers for everything"


def test_failed_stage_is_reported_with_its_log(shared: Repository, capfd: pytest.CaptureFixture[str]) -> None:
    own = template(shared)
    with pytest.raises(UserError, match=r"^failed: qat@dw \(logs above\); 1 stages that need them were left; run ag"):
        fan_out(shared.root, lambda job: Outcome(job.stage, job.stage != "qat@dw", "out of luck"), 2, own)
    said = capfd.readouterr().out
    assert "FAILED: qat@dw" in said and "--- qat@dw, the end of its log:\nout of luck" in said
    assert "done: qat@clf" in said and "Running stage" not in said


@pytest.mark.parametrize("pushed", [False, True])
def test_jobs_get_the_lock_of_what_cache_or_remote_hold(shared: Repository, pushed: bool) -> None:
    if pushed:
        with shared.opened() as repository:
            repository.push(["qat@dw"])
    shutil.rmtree(shared.root / ".dvc/cache")
    held = {"table", "qat@dw"} if pushed else {"table"}  # git has what `table` writes
    assert set(yaml.safe_load(template(shared).files["dvc.lock"])["stages"]) == held


def test_uncommitted_parameters_are_refused(shared: Repository) -> None:
    set_rate(shared, "clf")
    with pytest.raises(UserError, match=r"^not committed: params.yaml; jobs run the commit, so commit first$"):
        template(shared)


def test_dependencies_are_those_of_dvc(tmp_path: Path) -> None:
    with write_repository(tmp_path).opened() as repository:
        upstream, inputs = dependencies(repository), folder_inputs(repository)
    assert upstream["download"] == set()
    assert upstream["qat@dw"] == {"download", "finetune_fp32"}
    assert {f"{stage}@{name}" for stage in ("convert", "drift") for name in FEW["convert"]} <= upstream["table"]
    assert inputs["convert@dw"] == []
    of_the_plan = ["metrics/validation/channel.csv"]
    logits = [f"models/logits/{name}.safetensors" for name in sorted(["fp32", *FEW["convert"]])]
    assert inputs["plan"] == of_the_plan and inputs["compare"] == [*of_the_plan, *logits]
    assert {*inputs["compare"], *(f"metrics/calibration/{name}.csv" for name in FEW["calibration_sweep"]["names"])} <= {
        *inputs["table"]
    }


GRAPHS = st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9))).map(
    lambda graph: {str(node): {str(n) for n in needed if n < node and n in graph} for node, needed in graph.items()}
)


@given(upstream=GRAPHS, failing=st.sets(st.integers(0, 9).map(str)))
def test_every_stage_runs_after_what_it_needs_and_none_behind_a_failure(
    upstream: Mapping[str, set[str]], failing: set[str]
) -> None:
    finished: list[str] = []

    def do(stage: str) -> Outcome:
        assert upstream[stage] <= set(finished)
        if stage not in failing:
            finished.append(stage)
        return Outcome(stage, stage not in failing, "")

    outcomes = run_all(upstream, do, 3)
    for stage, needed in upstream.items():
        assert (stage in outcomes) == all(one in outcomes and outcomes[one].done for one in needed)
        assert stage not in outcomes or outcomes[stage].done == (stage not in failing)
