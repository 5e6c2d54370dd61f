"""Stages at the same time, each in a clone of the commit; the checkout ends as after a `dvc repro`."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from people import message, selectq
from small_checkout import write_checkout
from trivial_pipeline import FEW, STAGE, Repository, set_parameter

from selectq.team.fanout import dependencies, remote_template, run_all
from selectq.team.job import Job, Outcome

TEMPLATE = Job("", "repository", "commit", "folder", {}, {}, 1, False)

MEETING = """
import os, time
from pathlib import Path
meeting = Path(os.environ["MEETING"])
for name, other in (("dw", "clf"), ("clf", "dw")):
    if f"models/quantized/{name}.safetensors" in sys.argv:
        (meeting / name).touch()
        deadline = time.monotonic() + 60
        while not (meeting / other).exists():
            assert time.monotonic() < deadline, f"{name} runs alone"
            time.sleep(0.05)
"""
"""The two configurations of QAT wait for each other: one after the other, they would wait for ever."""

FAILING = """
if "models/quantized/dw.safetensors" in sys.argv:
    sys.exit("out of luck")
"""


def with_stage(extra: str) -> str:
    return STAGE.replace("run(main)", extra + "\nrun(main)")


def commit_new_rates(work: Repository) -> None:
    def both(parameters: dict[str, object]) -> None:
        set_parameter("qat.dw.lr", 0.00077)(parameters)
        set_parameter("qat.clf.lr", 0.00077)(parameters)

    work.edit_parameters(both)
    work.git("commit", "--quiet", "--all", "--message", "new rates")


@pytest.mark.slow
def test_independent_stages_run_at_the_same_time(work: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = work.root.parent / "meeting"
    meeting.mkdir()
    work.write("trivial.py", with_stage(MEETING))
    commit_new_rates(work)
    before, head = work.read("models/quantized/dw.safetensors"), work.git("rev-parse", "HEAD")
    kept = work.read("models/quantized/tensor.safetensors")
    monkeypatch.setitem(work.environment, "MEETING", str(meeting))
    said = selectq(work, "fanout", "--jobs", "2")
    assert "done: qat@dw" in said and "done: table" in said
    assert work.read("models/quantized/dw.safetensors") != before
    assert work.read("models/quantized/tensor.safetensors") == kept, "what was not affected was not run"
    assert work.repro() == set(), "one lock, in the checkout, answers for everything"
    assert work.git("rev-parse", "HEAD") == head, "no job commits"
    assert not [path for path in (work.root / ".workspaces/fanout").iterdir() if path.is_dir()], "no clone is left"


NAME = """own #1, it's 100% "mine"; $HOME"""

PAIR = """
stages:
  pair:
    matrix:
      name: [dw, clf]
    cmd: python stages/pair.py models/quantized/${item.name}.safetensors
    deps: [stages/pair.py]
    params: [seed]
    outs: ["models/quantized/${item.name}.safetensors"]
  table:
    cmd: python stages/table.py
    deps: [stages/table.py, models/quantized/dw.safetensors, models/quantized/clf.safetensors]
    outs: [results/table2.md]
"""

MEMBER = f"""
import sys
import yaml
{MEETING}
seed = yaml.safe_load(Path("params.yaml").read_text())["seed"]
Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
Path(sys.argv[1]).write_text(f"{{Path(sys.argv[1]).stem}}: seed {{seed}}, threads {{os.environ['OMP_NUM_THREADS']}}")
with open(os.environ["MEETING"] + "/runs", "a") as runs:
    print(sys.argv[1], file=runs)
"""

TABLE = """
from pathlib import Path
Path("results").mkdir(exist_ok=True)
Path("results/table2.md").write_text("of " + Path("models/quantized/dw.safetensors").read_text())
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A checkout whose pipeline is two stages that wait for each other, and one behind them; committed.

    Its folder's name has all that means something in a configuration file.
    """
    profile = {"profiles/some.yaml": "seed: 7\n"}
    write_checkout(tmp_path / NAME, {"dvc.yaml": PAIR, "stages/pair.py": MEMBER, "stages/table.py": TABLE, **profile})
    (tmp_path / "meeting").mkdir()
    own = Repository(tmp_path / NAME)
    monkeypatch.setitem(own.environment, "MEETING", str(tmp_path / "meeting"))
    own.git("init", "--quiet")
    own.git("add", "--all")
    own.git("commit", "--quiet", "--message", "all")
    return own


def test_study_runs_independent_stages_at_the_same_time(checkout: Repository) -> None:
    checkout.selectq("study", "some", "--jobs", "2")  # ends without the tables of a real study
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert checkout.read(".workspaces/some/models/quantized/clf.safetensors") == f"clf: seed 7, threads {threads}"
    assert checkout.read(".workspaces/some/results/table2.md") == f"of dw: seed 7, threads {threads}"
    assert len((checkout.root.parent / "meeting/runs").read_text().split()) == 2, "the workspace found what had run"
    assert checkout.git("status", "--porcelain", "--", "dvc.yaml", "params.yaml", "stages") == ""


def test_lock_of_another_machine_makes_no_stage_run_twice(checkout: Repository) -> None:
    runs = checkout.root.parent / "meeting/runs"
    selectq(checkout, "fanout", "--jobs", "2")
    theirs = yaml.safe_load(checkout.read("dvc.lock"))
    for stage in theirs["stages"].values():
        stage["outs"][0]["md5"] = "0" * 32
    checkout.write("dvc.lock", yaml.safe_dump(theirs))
    shutil.rmtree(checkout.root / ".dvc/cache")
    shutil.rmtree(checkout.root / "models")
    runs.unlink()
    selectq(checkout, "fanout", "--jobs", "2")
    assert len(runs.read_text().split()) == 2
    assert checkout.repro() == set()


@pytest.mark.parametrize("shared", [False, True])
def test_jobs_get_the_lock_of_what_cache_or_remote_hold(checkout: Repository, shared: bool) -> None:
    selectq(checkout, "fanout")
    checkout.dvc("remote", "add", "--default", "team", str(checkout.root.parent / "remote"))
    if shared:
        assert checkout.dvc("push", "pair@dw").returncode == 0
    shutil.rmtree(checkout.root / ".dvc/cache")
    template = remote_template(checkout.root, "repository", "folder", 1)
    assert set(yaml.safe_load(template.files["dvc.lock"])["stages"]) == ({"pair@dw"} if shared else set())


@pytest.mark.slow
def test_failed_stage_is_reported_with_its_log_and_the_others_run(work: Repository) -> None:
    work.write("trivial.py", with_stage(FAILING))
    commit_new_rates(work)
    refused = work.selectq("fanout")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "FAILED: qat@dw" in refused.stdout and "out of luck" in refused.stdout
    assert "done: qat@clf" in refused.stdout and "done: convert@clf" in refused.stdout
    assert refused.stderr.splitlines()[-1].startswith("error: failed: qat@dw (logs above); 5 stages that need them")
    log = work.read(".workspaces/fanout/qat@dw.log")
    assert "out of luck" in log

    work.write("trivial.py", STAGE)
    work.git("commit", "--quiet", "--all", "--message", "mended")
    clf = sorted((work.root / ".dvc/cache/runs").rglob("*"))
    selectq(work, "fanout")
    assert set(clf) <= set((work.root / ".dvc/cache/runs").rglob("*")), "what had run was found, not run again"
    assert work.repro() == set()


def test_uncommitted_parameters_are_refused(work: Repository) -> None:
    work.edit_parameters(set_parameter("seed", 7))
    assert message(work, "fanout") == "error: not committed: params.yaml; jobs run the commit, so commit first"


def test_dependencies_are_those_of_dvc(work: Repository) -> None:
    upstream = dependencies(work.dvc("dag", "--dot").stdout)
    assert upstream["download"] == set()
    assert upstream["qat@dw"] == {"download", "finetune_fp32"}
    assert {f"convert@{name}" for name in FEW["convert"]} <= upstream["table"]
    assert upstream["compare"] == {"download", "finetune_fp32", *(f"convert@{name}" for name in FEW["convert"])}


GRAPHS = st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9))).map(
    lambda graph: {str(node): {str(n) for n in needed if n < node and n in graph} for node, needed in graph.items()}
)


@given(upstream=GRAPHS, failing=st.sets(st.integers(0, 9).map(str)))
def test_every_stage_runs_after_what_it_needs_and_none_behind_a_failure(
    upstream: Mapping[str, set[str]], failing: set[str]
) -> None:
    finished: list[str] = []

    def engine(job: Job) -> Outcome:
        assert upstream[job.stage] <= set(finished)
        if job.stage not in failing:
            finished.append(job.stage)
        return Outcome(job.stage, job.stage not in failing, "")

    outcomes = run_all(upstream, engine, 3, TEMPLATE)
    for stage, needed in upstream.items():
        assert (stage in outcomes) == all(one in outcomes and outcomes[one].done for one in needed)
        assert stage not in outcomes or outcomes[stage].done == (stage not in failing)
