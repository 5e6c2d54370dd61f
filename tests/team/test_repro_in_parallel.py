"""Several `dvc repro` in one workspace: a study's, or the checkout itself."""

import os
from pathlib import Path

import pytest
import yaml
from people import selectq
from small_checkout import write_checkout
from trivial_pipeline import Repository

from selectq.errors import UserError
from selectq.study import Study, reproduced
from selectq.team.parallel import fan_out_here, plan

NEEDED = {
    "download": set(),
    "fp32": {"download"},
    "audit": {"download", "fp32"},
    "ptq@a": {"download", "fp32"},
    "qat@b": {"download", "fp32"},
    "convert@a": {"download", "fp32", "ptq@a"},
    "convert@b": {"download", "fp32", "qat@b"},
    "table": {"download", "fp32", "audit", "ptq@a", "qat@b", "convert@a", "convert@b"},
}


def test_plan_has_what_all_need_then_a_branch_for_each_configuration() -> None:
    trunk, branches = plan(NEEDED)
    assert trunk == ["download", "fp32"]
    assert next(iter(branches)) == ("qat@b", "convert@b"), "the longest one"
    assert sorted([*branches][1:]) == [("audit",), ("ptq@a", "convert@a")] and not any(branches.values())


def test_what_some_configurations_are_needed_for_is_begun_when_they_are_done() -> None:
    sensitivity = {"sensitivity": {"ptq@a", "fp32"}, "plan": {"sensitivity", "fp32"}, "auto": {"plan", "fp32"}}
    _, branches = plan({**NEEDED, **sensitivity, "table": {*NEEDED["table"], "plan"}})
    needed = ("ptq@a", "convert@a")
    assert [*branches][:2] == [needed, ("sensitivity", "plan", "auto")]
    assert sorted([*branches][2:]) == [("audit",), ("qat@b", "convert@b")]
    assert [before for before in branches.values() if before] == [{needed}]


def test_configuration_that_needs_the_plan_waits_for_it() -> None:
    auto = {
        "plan": {"ptq@a", "fp32"},
        "auto": {"plan", "ptq@a", "fp32"},
        "convert@auto": {"auto", "plan", "ptq@a", "fp32"},
    }
    trunk, branches = plan({**NEEDED, **auto, "table": {*NEEDED["table"], *auto}})
    assert trunk == ["download", "fp32"]
    assert [*branches][:2] == [("ptq@a", "convert@a"), ("plan", "auto")]
    assert branches[("convert@auto",)] == {("plan", "auto")} and not branches[("qat@b", "convert@b")]


PIPELINE = {
    "stages": {
        "data": {"cmd": "echo 1 > data", "params": ["seed"], "outs": ["data"]},
        "qat": {
            "foreach": ["a", "b"],
            "do": {"cmd": "python stages/run.py ${item}", "deps": ["data"], "outs": ["${item}"]},
        },
        "some": {"cmd": "cat a > some", "deps": ["a"], "outs": ["some"]},
        "table": {"cmd": "cat a b > table", "deps": ["a", "b"], "outs": ["table"]},
    }
}

WAIT_FOR_THE_OTHER = """
import os, sys, time
from pathlib import Path
name, = sys.argv[1:]
Path(f"started_{name}").touch()
other = Path("started_b" if name == "a" else "started_a")
deadline = time.monotonic() + 60
while not other.exists():
    if time.monotonic() > deadline:
        sys.exit("the other stage did not start")
    time.sleep(0.05)
if os.environ.get("FAIL") == name:
    sys.exit("error: no luck")
Path(name).write_text(os.environ["OMP_NUM_THREADS"])
"""


NAME = """own #1, it's 100% "mine"; $HOME"""
"""All that means something in a configuration file, or to a shell."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, whose two configurations each wait for the other to start."""
    files = {"dvc.yaml": yaml.safe_dump(PIPELINE), "stages/run.py": WAIT_FOR_THE_OTHER, "profiles/some.yaml": "seed: 0"}
    write_checkout(tmp_path / NAME, files)
    (tmp_path / NAME / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.chdir(tmp_path / NAME)
    return Path()


def test_configurations_run_at_the_same_time_with_their_share_of_the_cores(checkout: Path) -> None:
    study = Study(checkout, "some")
    with reproduced(study, jobs=2):
        assert (study.workspace / "table").read_text() == "33"
        theirs = yaml.safe_load((study.workspace / "dvc.lock").read_text())
    assert set(theirs["stages"]) == {"data", "qat@a", "qat@b", "some", "table"}, "one lock, of all stages"

    for stage in theirs["stages"].values():
        stage["outs"][0]["md5"] = "0" * 32
    Path("dvc.lock").write_text(yaml.safe_dump(theirs))
    fan_out_here(checkout, 2, 5)
    assert Path("table").read_text() == "33" and not Path("started_a").exists(), "a strange lock hides nothing that ran"


def test_failed_stage_is_named_and_the_others_have_run(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "b")
    with pytest.raises(UserError, match=r"^dvc repro qat@b failed \(exit status \d+\), see above; the other stages"):
        fan_out_here(checkout, 2, 5)
    assert Path("a").read_text() == Path("some").read_text() == "5" and not Path("b").exists()


def test_what_waits_for_what_failed_is_not_begun(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "a")
    with pytest.raises(UserError, match=r"^dvc repro qat@a failed \(exit status \d+\), see above; the other stages"):
        fan_out_here(checkout, 2, 5)
    assert Path("b").read_text() == "5" and not Path("some").exists()


@pytest.mark.slow
def test_fanout_runs_what_is_affected_and_writes_one_lock(work: Repository) -> None:
    models = {name: f"models/quantized/{name}.safetensors" for name in ("dw", "clf", "channel")}
    before = {name: work.read(path) for name, path in models.items()}
    work.edit_parameters(lambda parameters: [parameters["qat"][name].update(lr=0.00077) for name in ("dw", "clf")])
    selectq(work, "fanout", "--jobs", "2")
    assert {name for name, path in models.items() if work.read(path) != before[name]} == {"dw", "clf"}
    assert work.repro() == set()
