"""The fault trials: a verdict that can be bad, kills at the chosen moment, and hostile files that are hostile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from fault_demo import Demo, Result, Traces
from fault_files import BOMBS, NO_IMAGES, OUTSIDE, SPRUNG, YAML_TEXTS, Maker
from fault_inputs import Ended, fault_of
from fault_kills import Moment
from fault_trials import (
    ATTEMPTS,
    Fault,
    MissedError,
    NotSurvivedError,
    Row,
    Site,
    after_mending,
    after_repro,
    living,
    run_fault,
    try_once,
    wait_until_gone,
)
from faults import COLUMNS, describe, read_rows, table

from selectq.data.archives import GENEROUS, read_archive
from selectq.data.decoding import decode
from selectq.errors import UserError
from selectq.files import write_csv
from selectq.params.load import read_yaml

UNDISTURBED = Result({"a": "1", "b": "2"}, {"stages": {"one": {"cmd": "x"}, "two": {"cmd": "y"}}})
REORDERED = Result({"b": "2", "a": "1"}, {"stages": {"two": {"cmd": "y"}, "one": {"cmd": "x"}}})


@dataclass
class Pretended(Demo):
    """A demo that answers as it is told to."""

    ending: Result = UNDISTURBED
    status: int = 0
    mended: int = 0
    spoilt: list[str] = field(default_factory=list)
    put_back_from: list[Path] = field(default_factory=list)

    def repro(self) -> int:
        return self.status

    def said(self) -> str:
        return "Running stage 'a':\nERROR: it broke\nhint\n"

    def selectq(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, self.mended, "", "error: DVC is at work\n")

    def damaged(self) -> list[str]:
        return self.spoilt

    def result(self) -> Result:
        return self.ending

    def put_back(self, folder: Path) -> None:
        self.put_back_from.append(folder)


def site_of(demo: Demo) -> Site:
    return Site(demo, Path("healthy"), UNDISTURBED, {}, {})


def nothing(site: Site, number: int) -> None:
    """No fault at all."""


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (REORDERED, ""),
        (Result({"a": "1", "b": "3"}, UNDISTURBED.lock), "1 outputs differ, b first"),
        (Result({"a": "1"}, UNDISTURBED.lock), "1 outputs differ, b first"),
        (Result({**UNDISTURBED.files, "c": "3"}, UNDISTURBED.lock), "1 outputs differ, c first"),
        (Result(UNDISTURBED.files, {"stages": {"one": {"cmd": "x"}}}), "dvc.lock differs"),
    ],
)
def test_results_are_the_same_up_to_order(other: Result, difference: str) -> None:
    assert UNDISTURBED.difference(other) == difference


@pytest.mark.parametrize(
    ("demo", "reason"),
    [
        (Pretended(), ""),
        (Pretended(ending=REORDERED), ""),
        (Pretended(status=255), "dvc repro ends with 255: ERROR: it broke"),
        (Pretended(spoilt=["x", "y"]), "2 files are damaged, x first"),
        (Pretended(ending=Result({"a": "9", "b": "2"}, UNDISTURBED.lock)), "1 outputs differ, a first"),
    ],
)
def test_verdict_after_a_plain_repro(demo: Pretended, reason: str) -> None:
    assert after_repro(site_of(demo)) == reason


def test_verdict_after_mending() -> None:
    assert after_mending(site_of(Pretended())) == ""
    assert after_mending(site_of(Pretended(mended=2))) == "selectq verify --mend: error: DVC is at work"
    assert after_mending(site_of(Pretended(status=1))).startswith("dvc repro ends with 1")


def test_demo_is_put_back_after_a_trial_that_was_not_survived_and_only_then() -> None:
    for demo, copies in ((Pretended(), []), (Pretended(status=1), [Path("healthy")])):
        try_once(Fault("f", nothing, 1, after_repro), site_of(demo), 0)
        assert demo.put_back_from == copies


def test_what_goes_wrong_while_the_fault_is_there_counts() -> None:
    def inject(site: Site, number: int) -> None:
        raise NotSurvivedError("a traceback")

    cleaned: list[Site] = []
    site = site_of(Pretended())
    assert try_once(Fault("f", inject, 1, after_repro, cleaned.append), site, 0) == "a traceback"
    assert cleaned == [site]


def test_fault_that_came_too_late_is_no_trial() -> None:
    tried: list[int] = []

    def inject(site: Site, number: int) -> None:
        tried.append(number)
        if len(tried) < 3:
            raise MissedError

    assert try_once(Fault("f", inject, 1, after_repro), site_of(Pretended()), 7) == ""
    assert tried == [7, 7, 7]


def test_fault_that_always_comes_too_late_is_an_error() -> None:
    def inject(site: Site, number: int) -> None:
        raise MissedError

    with pytest.raises(UserError, match=rf"^f: came too late {ATTEMPTS} times in trial 0$"):
        try_once(Fault("f", inject, 1, after_repro), site_of(Pretended()), 0)


def test_trials_are_counted() -> None:
    def inject(site: Site, number: int) -> None:
        if number % 3 == 0:
            raise NotSurvivedError("every third")

    row = run_fault(Fault("f", inject, 10, after_repro), [site_of(Pretended()), site_of(Pretended())])
    assert (row.trials, row.survived) == (10, 6)
    assert describe(row) == ["6 of 10: f", "    4 x every third"]


def test_table_has_three_columns() -> None:
    written = table([Row("f", 3, ("why",)), Row("g", 2, ())])
    assert COLUMNS == ["fault", "trials", "survived"]
    assert written.equals(pd.DataFrame({"fault": ["f", "g"], "trials": [3, 2], "survived": [2, 2]}))


def test_rows_of_a_table_are_gone_on_from(tmp_path: Path) -> None:
    written = table([Row("f, twice", 3, ("why",)), Row("g", 2, ())])
    write_csv(tmp_path / "faults.csv", written)
    assert table(read_rows(tmp_path / "faults.csv")).equals(written)


LOCKED: dict[str, Any] = {
    "schema": "2.0",
    "stages": {
        "one": {"cmd": "python one.py", "outs": [{"path": "one.txt", "md5": "aa1"}, {"path": "same", "md5": "cc3"}]},
        "two": {"cmd": "python two.py", "outs": [{"path": "two", "md5": "bb2.dir"}, {"path": "same2", "md5": "cc3"}]},
    },
}


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A workspace in which two stages have run; both have written an output of the same content."""
    made = Demo(tmp_path)
    objects = made.cache / "files" / "md5"
    files = {
        made.workspace / "dvc.lock": yaml.safe_dump(LOCKED),
        made.workspace / "one.txt": "1",
        made.workspace / "same": "3",
        made.workspace / "same2": "3",
        made.workspace / "two" / "x.txt": "x",
        made.workspace / "two" / ".x.12.partial": "litter",
        objects / "aa" / "1": "1",
        objects / "cc" / "3": "3",
        objects / "bb" / "2.dir": '[{"md5": "dd4", "relpath": "x.txt"}]',
        objects / "dd" / "4": "x",
        made.cache / "runs" / "r1" / "k" / "v": "cmd: python one.py\n",
        made.cache / "runs" / "r2" / "k" / "v": "cmd: python two.py\n",
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return made


def left_of(demo: Demo, traces: Traces) -> set[str]:
    folders = (demo.cache, demo.workspace)
    return {_short(demo, demo.checkout / path, folders) for path in (*traces.outputs, *traces.cached)}


def _short(demo: Demo, path: Path, folders: tuple[Path, ...]) -> str:
    return next(path.relative_to(folder).as_posix() for folder in folders if path.is_relative_to(folder))


def test_traces_are_what_no_other_stage_has_left(demo: Demo) -> None:
    assert left_of(demo, demo.traces("one")) == {"one.txt", "same", "runs/r1/k/v", "files/md5/aa/1"}
    two = {"two", "same2", "runs/r2/k/v", "files/md5/bb/2.dir", "files/md5/dd/4"}
    assert left_of(demo, demo.traces("two")) == two


def test_forgotten_stage_leaves_nothing_and_comes_back(demo: Demo, tmp_path: Path) -> None:
    demo.keep_as(tmp_path / "healthy")
    before = demo.result()
    demo.forget("two", demo.traces("two"))
    assert list(read_yaml(demo.workspace / "dvc.lock")["stages"]) == ["one"]
    assert not (demo.workspace / "two").exists() and (demo.workspace / "same").exists()
    assert demo.result().files.keys() == {"one.txt", "same"}
    demo.put_back(tmp_path / "healthy")
    assert demo.result() == before
    assert before.files.keys() == {"one.txt", "same", "two/x.txt", "same2"}, "litter is no output"


WRITER = """
from pathlib import Path

for number in range(4):
    with open(f"{number}.txt", "w") as file:
        file.write("whole")
Path("0.txt").rename("0.done")
open("0.done").read()
"""
LINGERING = (
    WRITER
    + """
import time

time.sleep(60)
"""
)


def kill_writer(demo: Demo, moment: Moment, script: str = "stages/writer.py", code: str = WRITER) -> int:
    """Run a program that changes the disk five times, under the hook; its exit status."""
    (demo.checkout / "stages").mkdir(parents=True, exist_ok=True)
    (demo.checkout / script).write_text(code)
    environment = {**os.environ, **moment.environment(demo)}
    return subprocess.run([sys.executable, script], cwd=demo.checkout, env=environment, check=False).returncode


def texts(demo: Demo) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(demo.checkout.glob("?.*"))}


def test_every_moment_is_listed(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert kill_writer(demo, Moment("stage")) == 0
    lines = (tmp_path / "moments").read_text().splitlines()
    opened = [f"open {demo.checkout}/{number}.txt" for number in range(4)]
    assert lines == [*opened, f"os.rename {demo.checkout}/0.done"]


@pytest.mark.parametrize("number", [1, 3])
def test_kill_before_a_change(number: int, tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert kill_writer(demo, Moment("stage", number=number)) == -signal.SIGKILL
    assert texts(demo) == {f"{before}.txt": "whole" for before in range(number - 1)}


def test_kill_before_a_rename_of_a_chosen_path(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert kill_writer(demo, Moment("stage", r"\.done$", 1)) == -signal.SIGKILL
    assert len(texts(demo)) == 4 and "0.txt" in texts(demo)


def test_kill_with_an_emptied_file(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.checkout.mkdir()
    (demo.checkout / "1.txt").write_text("before")
    assert kill_writer(demo, Moment("stage", "1.txt", 1, "emptied")) == -signal.SIGKILL
    assert texts(demo) == {"0.txt": "whole", "1.txt": ""}


def test_kill_after_a_change(tmp_path: Path) -> None:
    demo, moment = Demo(tmp_path), Moment("stage", number=1, how="after", delay_s=0.3)
    assert kill_writer(demo, moment, code=LINGERING) == -signal.SIGKILL
    assert texts(demo)["3.txt"] == "whole"


@pytest.mark.parametrize(("process", "script"), [("dvc", "stages/writer.py"), ("stage", "other.py")])
def test_other_processes_are_left_alone(process: str, script: str, tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert kill_writer(demo, Moment(process, number=1), script) == 0
    assert not (tmp_path / "moments").exists()


def test_process_that_stays_is_found_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fault_trials.ENDING_S", 0.1)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as sleeper:
        assert living(sleeper.pid) == [sleeper.pid]
        with pytest.raises(NotSurvivedError, match=r"^processes were left running"):
            wait_until_gone(sleeper.pid)
    assert sleeper.returncode == -signal.SIGKILL
    started = time.monotonic()
    wait_until_gone(sleeper.pid)
    assert time.monotonic() - started < 1


REFUSED = Ended(2, "error: it is no image\n", 500)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (REFUSED, ""),
        (Ended(0, "", 500), "exit status 0, 0 lines"),
        (Ended(1, "Traceback (most recent call last):\nValueError: x\n", 500), "exit status 1, 2 lines: ValueError: x"),
        (Ended(2, "error: one\nerror: two\n", 500), "exit status 2, 2 lines: error: two"),
        (Ended(-9, "", 500), "exit status -9"),
        (Ended(2, "error: it is no image\n", 5000), "took 5000 MiB"),
    ],
)
def test_verdict_on_how_a_hostile_file_was_taken(ended: Ended, reason: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    assert fault_of(ended, tmp_path).startswith(reason)
    assert bool(fault_of(ended, tmp_path)) == bool(reason)


@pytest.mark.parametrize("name", [SPRUNG, f"inside/{SPRUNG}", "elsewhere"])
def test_what_a_hostile_file_wrote_is_seen(name: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / name).touch()
    assert fault_of(REFUSED, tmp_path) == "something was written"


def _read_all(path: Path) -> None:
    with path.open("rb") as archive:
        for file in read_archive(archive, path.name, GENEROUS):
            decode(file.content, str(file.path))


FILES: Mapping[str, tuple[Maker, Callable[[Path], object]]] = {
    **{name: (make, _read_all) for name, make in OUTSIDE.items()},
    **{name: (make, lambda path: decode(path.read_bytes(), path.name)) for name, make in NO_IMAGES.items()},
    "picture.zip": (BOMBS["picture.zip"], _read_all),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, read = FILES[name]
    make(tmp_path / name)
    with pytest.raises(UserError):
        read(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", YAML_TEXTS)
def test_hostile_yaml_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(YAML_TEXTS[name])
    with pytest.raises(UserError) as refusal:
        read_yaml(tmp_path / name)
    assert len(str(refusal.value)) < 1000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_small_share_of_the_trials(checkout: Path, tmp_path: Path) -> None:
    """From the undisturbed run to the table, with one trial of each of a few faults."""
    command = [sys.executable, "benchmarks/faults.py", "--share", "0.01", "--only", "changes the disk: card"]
    done = subprocess.run(
        [*command, "--output", tmp_path / "faults.csv"], cwd=checkout, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "faults.csv")
    assert list(rows.columns) == COLUMNS
    assert "torch-" in (tmp_path / "faults_machine.csv").read_text()
    assert list(rows["trials"]) == [1] and list(rows["survived"]) == [1]
