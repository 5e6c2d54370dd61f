"""What a removed configuration left behind goes, and nothing else."""

from pathlib import Path

from trivial_pipeline import Repository

from selectq.stale import drop_others


def test_only_files_of_the_named_stay(tmp_path: Path) -> None:
    for name in (
        "dw.csv",
        "dw.layers.csv",
        "dw_asym.csv",
        "clf.csv",
        "clf.layers.csv",
        ".clf.csv.1.partial",
        "in/d.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    drop_others(tmp_path, ["dw", "to_come"])
    drop_others(tmp_path / "absent", [])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"dw.csv", "dw.layers.csv", ".clf.csv.1.partial", "in/d.csv"}


PIPELINE = """
stages:
  logits:
    foreach: ${convert}
    do:
      cmd: mkdir -p models/logits && echo ${item} > models/logits/${item}.txt
      deps: [params.yaml]
      outs: ["models/logits/${item}.txt"]
  compare:
    cmd: python compare.py
    deps: [models/logits]
    params: [convert]
    outs: [{results.txt: {cache: false}}]
"""

COMPARE = """
import yaml
from pathlib import Path
from selectq.stale import drop_others
drop_others(Path("models/logits"), yaml.safe_load(Path("params.yaml").read_text())["convert"])
Path("results.txt").write_text(str(sorted(path.name for path in Path("models/logits").iterdir())))
"""


def test_branch_without_a_configuration_runs_and_changes_nothing(tmp_path: Path) -> None:
    work = Repository(tmp_path)
    ignored = "/models\n/.dvc/cache\n/.dvc/tmp\n"
    for path, text in {"dvc.yaml": PIPELINE, "compare.py": COMPARE, ".dvc/config": "", ".gitignore": ignored}.items():
        work.write(path, text)
    work.git("init", "--quiet", "--initial-branch", "less")
    for branch, names in {"less": "[a]", "more": "[a, b]"}.items():
        if branch != "less":
            work.git("switch", "--quiet", "--create", branch)
        work.write("params.yaml", f"convert: {names}\n")
        work.repro()
        work.git("add", "--all")
        work.git("commit", "--quiet", "--message", branch)
    for branch, left in {"less": ["a.txt"], "more": ["a.txt", "b.txt"]}.items():
        work.git("switch", "--quiet", branch)
        work.repro()
        assert work.read("results.txt") == str(left)
        assert work.git("status", "--porcelain") == "", "the lock is the one of the branch, the results too"
    assert work.repro() == set()
