"""Several `dvc repro` in one workspace."""

import os
from pathlib import Path

import pytest
import yaml
from small_checkout import write_checkout

from selectq.errors import UserError
from selectq.team.dvc import run_dvc, stage_environment
from selectq.team.parallel import dependencies, plan, repro_in_parallel

DAG = """strict digraph { "download"; "fp32"; "ptq@a"; "audit"; "qat@b"; "table"; "convert@a"; "convert@b";
"download" -> "fp32"; "fp32" -> "ptq@a"; "fp32" -> "audit"; "fp32" -> "qat@b"; "ptq@a" -> "convert@a";
"qat@b" -> "convert@b"; "convert@a" -> "table"; "convert@b" -> "table"; "audit" -> "table"; "fp32" -> "table" }"""


def test_plan_has_what_all_need_then_a_branch_for_each_configuration() -> None:
    trunk, branches = plan(dependencies(DAG))
    assert trunk == ["download", "fp32"]
    assert sorted(branches) == [["audit"], ["ptq@a", "convert@a"], ["qat@b", "convert@b"]]


PIPELINE = {
    "stages": {
        "data": {"cmd": "echo 1 > data", "outs": ["data"]},
        "qat": {
            "foreach": ["a", "b"],
            "do": {"cmd": "python run.py ${item}", "deps": ["data"], "outs": ["${item}"]},
        },
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose two configurations each wait for the other to start."""
    write_checkout(tmp_path, {"dvc.yaml": yaml.safe_dump(PIPELINE), "run.py": WAIT_FOR_THE_OTHER})
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    return tmp_path


def test_configurations_run_at_the_same_time_with_their_share_of_the_cores(folder: Path) -> None:
    environment = stage_environment(folder)
    repro_in_parallel(folder, 2, environment)
    assert (folder / "a").read_text() == (folder / "b").read_text() == "3"
    assert not (folder / "table").exists()
    assert run_dvc(folder, ("repro",), environment) == 0
    assert (folder / "table").read_text() == "33"


def test_failed_stage_is_named_and_the_others_have_run(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^dvc repro qat@b failed \(exit status \d+\), see above; the other stages"):
        repro_in_parallel(folder, 2, {**stage_environment(folder), "FAIL": "b"})
    assert (folder / "a").exists() and not (folder / "b").exists()
