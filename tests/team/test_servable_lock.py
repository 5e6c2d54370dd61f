"""What stays of a lock: the stages all of whose outputs can be had."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from selectq.errors import UserError
from selectq.team.cache import object_path
from selectq.team.servable_lock import had_from_cache, servable_lock

ABSENT = "0" * 32


def keep(cache: Path, content: str, suffix: str = "") -> str:
    """Put an object into the cache; its hash."""
    md5 = hashlib.md5(content.encode()).hexdigest() + suffix
    path = object_path(cache, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return md5


def write_lock(folder: Path, outs: dict[str, list[dict[str, str]]]) -> Path:
    lock = folder / "dvc.lock"
    stages = {name: {"cmd": name, "outs": each} for name, each in outs.items()}
    lock.write_text("# as DVC wrote it\n" + yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return lock


def stages_left(lock: Path, cache: Path) -> set[str]:
    document = yaml.safe_load(servable_lock(lock, had_from_cache(cache, lock.parent)))
    assert document["schema"] == "2.0"
    return set(document["stages"])


def test_stages_with_an_output_that_the_cache_lacks_are_left_out(tmp_path: Path) -> None:
    md5 = keep(tmp_path, "a")
    halves = [{"path": "c", "md5": md5}, {"path": "d", "md5": ABSENT}]
    outs = {"held": [{"path": "a", "md5": md5}], "absent": [{"path": "b", "md5": ABSENT}], "halves": halves}
    lock = write_lock(tmp_path, outs)
    assert stages_left(lock, tmp_path) == {"held"}


def test_folder_is_held_with_all_its_files(tmp_path: Path) -> None:
    there, gone = {"relpath": "a", "md5": keep(tmp_path, "a")}, {"relpath": "b", "md5": ABSENT}
    whole = keep(tmp_path, json.dumps([there]), ".dir")
    broken = keep(tmp_path, json.dumps([there, gone]), ".dir")
    outs = {"whole": [{"path": "x", "md5": whole}], "broken": [{"path": "y", "md5": broken}]}
    outs["unlisted"] = [{"path": "z", "md5": f"{ABSENT}.dir"}]
    assert stages_left(write_lock(tmp_path, outs), tmp_path) == {"whole"}


def test_folder_whose_list_is_damaged_is_left_to_dvc(tmp_path: Path) -> None:
    listed = keep(tmp_path, "[]", ".dir")
    object_path(tmp_path, listed).write_text("[{")
    assert stages_left(write_lock(tmp_path, {"one": [{"path": "x", "md5": listed}]}), tmp_path) == {"one"}


def test_output_that_lies_there_needs_no_cache(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("as locked")
    (tmp_path / "other.md").write_text("edited")
    md5 = hashlib.md5(b"as locked").hexdigest()
    outs = {"table": [{"path": "table.md", "md5": md5}], "edited": [{"path": "other.md", "md5": md5}]}
    assert stages_left(write_lock(tmp_path, outs), tmp_path / "cache") == {"table"}


def test_lock_of_which_nothing_is_left_out_stays_as_it_is(tmp_path: Path) -> None:
    lock = write_lock(tmp_path, {"one": [{"path": "a", "md5": keep(tmp_path, "a")}]})
    assert servable_lock(lock, had_from_cache(tmp_path, lock.parent)) == lock.read_text()


def test_lock_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc\.lock line 1"):
        servable_lock(lock, had_from_cache(tmp_path, lock.parent))
