"""`selectq study`, on a pipeline of two trivial stages."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from processes import wait_until_gone
from small_checkout import REAL, write_checkout

from selectq.errors import UserError
from selectq.files import only_writer
from selectq.study import Study, find_checkout, prepare_workspace, run_study, study_parameters
from selectq.team import dvc

PIPELINE = """
stages:
  train:
    cmd: python stages/train.py
    deps: [stages/train.py]
    params: [seed]
    outs: [models/weights.txt]
  table:
    cmd: python stages/table.py
    deps: [stages/table.py, models/weights.txt]
    params: [range_skew]
    metrics:
      - metrics/summary.json: {cache: false}
    outs:
      - results/table2.md: {cache: false}
      - results/report.html: {cache: false}
      - results/verdict.md: {cache: false}
      - results/verdict.json: {cache: false}
"""

TRAIN = """
import os, sys
from pathlib import Path

with open(os.environ["RUNS"], "a") as runs:
    print(f"train {sys.executable} {os.environ['SELECTQ_DATA']}", file=runs)
Path("models").mkdir(exist_ok=True)
Path("models/weights.txt").write_text("weights")
"""

TABLE = """
from pathlib import Path

for name in ("metrics/summary.json", "results/table2.md", "results/verdict.md", "results/report.html"):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(f"this is {name}")
Path("results/verdict.json").write_text('{"recommended": "dw"}')
"""


FILES = {
    "dvc.yaml": PIPELINE,
    "stages/train.py": TRAIN,
    "stages/table.py": TABLE,
    "src/selectq/__pycache__/stale.pyc": "",
    "profiles/digits.yaml": "seed: 7\n",
    "profiles/same.yaml": "seed: 7\nrange_skew: 0.5\n",
}


def enter(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout as the current folder; its stages append a line to ../runs when they really run."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("RUNS", str(root.parent / "runs"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("SELECTQ_DATA", raising=False)
    return Path()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout."""
    write_checkout(tmp_path / "checkout", FILES)
    return enter(tmp_path / "checkout", monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, in which the study `digits` has run."""
    folder = tmp_path_factory.mktemp("finished")
    write_checkout(folder / "checkout", FILES)
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_study(enter(folder / "checkout", monkeypatch), "digits", keep=False)
    return folder


@pytest.fixture
def studied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return enter(tmp_path / "checkout", monkeypatch)


def _runs() -> list[str]:
    return Path(os.environ["RUNS"]).read_text().splitlines()


def _files(root: Path) -> dict[str, bytes]:
    """The checkout's files without workspaces and DVC's own."""
    files = [path for path in root.rglob("*") if path.is_file() and not {".workspaces", "cache"} & set(path.parts)]
    return {str(path): path.read_bytes() for path in files}


def test_study_runs_in_its_workspace_and_prints_the_table(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = _files(checkout)
    run_study(checkout, "digits", keep=False)
    assert _files(checkout) == before
    out = capfd.readouterr().out
    assert "Running stage 'train'" in out
    said = out[out.index("this is results/table2.md") :].splitlines()
    assert said == [
        "this is results/table2.md",
        "this is results/verdict.md",
        "report: .workspaces/digits/results/report.html",
        "model:  .workspaces/digits/models/int8/dw/dw.onnx",
    ]
    assert yaml.safe_load(Path(".workspaces/digits/params.yaml").read_text())["seed"] == 7
    assert not Path(".workspaces/digits/src/selectq/__pycache__").exists()


def test_checkout_does_not_see_the_workspace(studied: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    with dvc.opened(studied) as repository:
        assert [stage.addressing for stage in repository.index.stages] == ["train", "table"]


def test_second_run_and_second_workspace_train_nothing_again(studied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_study(studied, "digits", keep=False)
    out = capfd.readouterr().out
    assert "Stage 'train' didn't change" in out and "Stage 'table' didn't change" in out
    assert "this is results/table2.md" in out
    run_study(studied, "same", keep=False)
    assert len(_runs()) == 1, "restored from the cache that the workspaces share"


def test_lock_of_another_machine_hides_nothing_that_ran_here(studied: Path) -> None:
    theirs = yaml.safe_load(Path(".workspaces/digits/dvc.lock").read_text())
    theirs["stages"]["train"]["outs"][0]["md5"] = "0" * 32
    Path("dvc.lock").write_text(yaml.safe_dump(theirs))
    run_study(studied, "same", keep=False)
    assert len(_runs()) == 1, "found in the run cache, not in the lock"


def test_stages_run_under_this_python_and_find_data_from_any_folder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("stages/images").mkdir()
    monkeypatch.chdir("stages")
    monkeypatch.setenv("SELECTQ_DATA", f"images{os.pathsep}/elsewhere")
    assert find_checkout() == Path("..")
    run_study(find_checkout(), "digits", keep=False)
    _, python, folders = _runs()[0].split()
    assert Path(python).parent == Path(sys.executable).parent
    root = Path.cwd().parent
    assert folders.split(os.pathsep) == [str(root), str(root / "stages" / "images"), "/elsewhere"]


def test_keep_archives_the_small_tables_and_the_models(
    checkout: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = []
    monkeypatch.setattr("selectq.claims.archive.archive_study", lambda *folders: archived.append(folders))
    names = ["dw", *yaml.safe_load(Path("params.yaml").read_text())["ship"]]
    for name in ("full", *names):
        program = Path(f".workspaces/digits/models/int8/{name}/{name}.onnx")
        program.parent.mkdir(parents=True)
        program.write_text(name)
    card = Path(".workspaces/digits/results/cards/channel.md")
    card.parent.mkdir(parents=True)
    card.write_text("channel")
    run_study(checkout, "digits", keep=True)
    kept = {path.name for path in Path("models/kept/digits").iterdir()}
    assert kept == {*(f"{name}.onnx" for name in names), "channel.md"}
    assert archived == [(Path(".workspaces/digits"), Path("results/digits"), ["table", "train"])]
    assert capfd.readouterr().out.endswith("kept:   results/digits/ and models/kept/digits/\n")


def test_profile_that_lists_studies_runs_each_and_what_they_share_once(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("profiles/both.yaml").write_text("base: digits\nstudies: [both, same]\n")
    run_study(checkout, "both", keep=False)
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith(("study ", "report: "))]
    assert said == [
        "study 1 of 2: both",
        "report: .workspaces/both/results/report.html",
        "study 2 of 2: same",
        "report: .workspaces/same/results/report.html",
    ]
    assert len(_runs()) == 1, "trained once"
    assert "studies" not in yaml.safe_load(Path(".workspaces/both/params.yaml").read_text())


def test_study_that_is_listed_and_not_there_is_refused_before_any_runs(checkout: Path) -> None:
    Path("profiles/both.yaml").write_text("studies: [digits, absent]\n")
    with pytest.raises(UserError, match=r"^profiles/both\.yaml: studies: 'absent' is no profile; allowed: both, "):
        run_study(checkout, "both", keep=False)
    assert not Path(".workspaces").exists()


def test_first_lock_is_the_workspaces_then_the_checkouts(checkout: Path) -> None:
    own = Study(checkout, "digits")
    lock, parameters = own.workspace / "dvc.lock", study_parameters(own)
    for folder in (own.checkout, own.workspace):
        folder.mkdir(exist_ok=True, parents=True)
        text = f"# of {folder}\nstages: {{}}\n"
        (folder / "dvc.lock").write_text(text)
        prepare_workspace(own, parameters)
        assert lock.read_text() == text
        lock.unlink()


def test_unknown_profile_lists_the_profiles(checkout: Path) -> None:
    with pytest.raises(UserError, match=r"^'\.\./x' is no profile; allowed: digits, same \(the files in profiles/\)$"):
        run_study(checkout, "../x", keep=False)


def test_bad_profile_is_refused_before_any_work(checkout: Path) -> None:
    Path("profiles/bad.yaml").write_text("finetune: {epochs: 0}\n")
    message = r"^profiles/bad\.yaml over params\.yaml: finetune\.epochs: 0 is out of range; allowed: 1 to 1000000000$"
    with pytest.raises(UserError, match=message):
        run_study(checkout, "bad", keep=False)
    assert not Path(".workspaces").exists()


def test_profile_is_laid_over_its_base(checkout: Path) -> None:
    Path("profiles/near.yaml").write_text("base: same\nsetting: near\n")
    Path("profiles/far.yaml").write_text("base: near\nseed: 8\n")
    plain = study_parameters(Study(checkout, "same"))
    assert study_parameters(Study(checkout, "near")) == {**plain, "setting": "near"}
    assert study_parameters(Study(checkout, "far")) == {**plain, "setting": "near", "seed": 8}


def test_profile_puts_back_what_its_base_removes(checkout: Path) -> None:
    entries = study_parameters(Study(checkout, "same"))["ptq"]
    Path("profiles/less.yaml").write_text(f"ptq: {{{next(iter(entries))}: null}}\n")
    Path("profiles/more.yaml").write_text(yaml.safe_dump({"base": "less", "ptq": entries}))
    assert study_parameters(Study(checkout, "more"))["ptq"] == entries


def test_bases_are_laid_in_turn_and_none_twice(checkout: Path) -> None:
    Path("profiles/seeded.yaml").write_text("seed: 8\nsetting: seeded\n")
    Path("profiles/fast.yaml").write_text("base: seeded\nfinetune: {epochs: 1}\nsetting: fast\n")
    Path("profiles/both.yaml").write_text("base: [same, fast, seeded]\nfinetune: {lr: 0.5}\n")
    plain = study_parameters(Study(checkout, "same"))
    finetune = {**plain["finetune"], "epochs": 1, "lr": 0.5}
    assert study_parameters(Study(checkout, "both")) == {**plain, "seed": 8, "setting": "fast", "finetune": finetune}
    Path("profiles/both.yaml").write_text("base: [same, seeded, fast]\n")
    assert study_parameters(Study(checkout, "both"))["setting"] == "fast"


def test_unknown_or_circular_base_is_refused(checkout: Path) -> None:
    Path("profiles/a.yaml").write_text("base: b\n")
    with pytest.raises(UserError, match=r"^profiles/a\.yaml: base: 'b' is no profile; allowed: a, digits, same$"):
        study_parameters(Study(checkout, "a"))
    Path("profiles/b.yaml").write_text("base: [same, a]\n")
    with pytest.raises(UserError, match=r"^profiles/b\.yaml: base: a goes in a circle \(a -> b -> a\)$"):
        study_parameters(Study(checkout, "a"))


def test_command_outside_a_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("..")
    with pytest.raises(UserError, match=r"is not in a checkout of selectq: no dvc\.yaml with profiles/ here or above$"):
        find_checkout()


def test_workspace_belongs_to_the_checkout_around_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Study(checkout, "digits")
    prepare_workspace(own, study_parameters(own))
    monkeypatch.chdir(own.workspace)
    assert find_checkout() == Path("../..")


def test_missing_dvc_is_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"^DVC is not installed for \S*; install selectq\[pipeline\], or run `make setup`$"
    ):
        run_study(checkout, "digits", keep=False)


def test_second_study_of_a_profile_is_refused_while_one_runs(checkout: Path) -> None:
    with (
        only_writer(Path(".workspaces/digits"), locks=checkout / ".workspaces"),
        pytest.raises(UserError, match=rf"^\.workspaces/digits: another process \(pid {os.getpid()}\) is writing it; "),
    ):
        run_study(checkout, "digits", keep=False)


def test_failing_stage_is_shown_and_ends_the_command(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("stages/train.py").write_text("import sys; sys.exit('error: no images')")
    with pytest.raises(UserError, match=r"^study digits stopped in \.workspaces/digits \(dvc's exit"):
        run_study(checkout, "digits", keep=False)
    assert "error: no images" in capfd.readouterr().err


def test_ending_the_command_ends_the_stage(checkout: Path) -> None:
    """SIGTERM, as a batch system sends it: no training goes on alone."""
    Path("stages/train.py").write_text(
        "import os, time; open(os.environ['RUNS'], 'w').write(str(os.getpid()) + '\\n'); time.sleep(60)"
    )
    with _started("study", "digits") as process:
        stage = int(_wait_for_line(Path(os.environ["RUNS"])))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        wait_until_gone(stage)
    run_again = Study(checkout, "digits")
    Path("stages/train.py").write_text(TRAIN)
    run_study(checkout, run_again.profile, keep=False)


@contextlib.contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from selectq.cli.main import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REAL / "src")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_line(path: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.05)
    raise TimeoutError(path)
