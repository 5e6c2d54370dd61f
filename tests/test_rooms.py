"""The rooms of the package: what one imports of another has no circle, and docs/extend.md draws it."""

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from pipeline_deps import used_directly

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCE = CHECKOUT / "src" / "selectq"

Rooms = dict[str, set[str]]
"""Room -> the rooms that it imports from. A room is a folder, or a file beside the folders."""


def imports(source: Path) -> Rooms:
    """Wherever in a file an import stands."""
    rooms: Rooms = {}
    for file in source.rglob("*.py"):
        room = _room(source, file)
        used = {_room(source, path) for path in used_directly(source.parent, file) if path.name != "__init__.py"}
        rooms.setdefault(room, set()).update(used - {room})
    del rooms["__init__"]
    return rooms


def _room(source: Path, file: Path) -> str:
    return file.relative_to(source).parts[0].removesuffix(".py")


def below(rooms: Rooms, room: str) -> set[str]:
    """All that a room imports from, directly or not."""
    return rooms[room].union(*(below(rooms, each) for each in rooms[room]))


def drawn(source: Path) -> str:
    """Arrows between rooms, without those that others imply, and without small files that any room may use."""
    rooms = imports(source)
    folders = {path.name for path in source.iterdir() if path.is_dir()}
    small = {room for room in rooms if not folders & {room, *below(rooms, room)}}
    lines = []
    for room in sorted(rooms.keys() - small):
        implied = set().union(*(below(rooms, each) for each in rooms[room]))
        direct = rooms[room] - implied - small
        lines += [f"    {room} --> {' & '.join(sorted(direct))}\n"] if direct else []
    return "".join(lines)


def test_no_room_imports_from_one_that_comes_back_to_it() -> None:
    try:
        TopologicalSorter(imports(SOURCE)).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(reversed(error.args[1]))}; move what is shared to the lower room")


def test_picture_of_the_rooms_is_that_of_the_code() -> None:
    (picture,) = re.findall(r"```mermaid\nflowchart TD\n(.*?)```", (CHECKOUT / "docs/extend.md").read_text(), re.DOTALL)
    assert picture == drawn(SOURCE)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A package of three rooms, one above the other, and a small file."""
    source = tmp_path / "selectq"
    files = {
        "low/code.py": "import selectq.errors\n",
        "middle/code.py": "from selectq.low import code\n",
        "high/code.py": "from selectq.middle.code import x\nfrom selectq.low.code import y\n",
    }
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text(text)
    for name in ("__init__.py", "errors.py"):
        (source / name).write_text("")
    return source


def test_circle_is_seen_wherever_the_import_stands(planted: Path) -> None:
    rooms = imports(planted)
    assert rooms == {"low": {"errors"}, "middle": {"low"}, "high": {"low", "middle"}, "errors": set()}
    TopologicalSorter(rooms).prepare()
    (planted / "low/late.py").write_text("def late():\n    from selectq.high import code\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(planted)).prepare()


def test_only_what_no_other_arrow_implies_is_drawn(planted: Path) -> None:
    assert drawn(planted) == "    high --> middle\n    middle --> low\n"
