"""A `.pt2` file in which something could run is refused before torch sees it."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_networks import exported

from selectq.errors import UserError
from selectq.export import pt2_archive
from selectq.export.pt2_archive import CONSTANTS, EXAMPLES, GRAPH, WEIGHTS, checked_archive
from selectq.programs.program import open_program

Entries = dict[str, bytes]


class Trap:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (Path("sprung"),))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def entries() -> Entries:
    """Those of a file of selectq's."""
    with zipfile.ZipFile(exported("plain").path(".pt2")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(entries: Entries, changes: Entries) -> Path:
    path = Path("m.pt2")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (entries | {f"archive/{name}": content for name, content in changes.items()}).items():
            archive.writestr(name, content)
    return path


def edited(entries: Entries, name: str, edit: Callable[[Any], None]) -> Entries:
    document = json.loads(entries[f"archive/{name}"])
    edit(document)
    return {name: json.dumps(document).encode()}


def pickled_weight(entries: Entries) -> Entries:
    def edit(document: Any) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    return edited(entries, WEIGHTS, edit) | {"data/weights/weight_0": pickle.dumps(Trap())}


def opaque_constant(entries: Entries) -> Entries:
    payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    return edited(entries, CONSTANTS, lambda document: document["config"].update(trap=payload))


def first_of(key: str, value: str) -> Callable[[Entries], Entries]:
    """The graph with the first text under a key replaced."""

    def changes(entries: Entries) -> Entries:
        text = entries[f"archive/{GRAPH}"].decode()
        before = next(found for name, found in pt2_archive._leaves(json.loads(text)) if name == key)
        return {GRAPH: text.replace(json.dumps(before), json.dumps(value), 1).encode()}

    return changes


RUNS = "__import__('pathlib').Path('sprung').touch()"
HOSTILE: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "pickled weight": (pickled_weight, "holds a pickled weight"),
    "weight elsewhere": (
        lambda entries: {WEIGHTS: entries[f"archive/{WEIGHTS}"].replace(b'"weight_0"', b'"../../extra/x"')},
        "holds a pickled weight",
    ),
    "opaque constant": (opaque_constant, "holds constants"),
    "guard": (
        lambda entries: edited(entries, GRAPH, lambda graph: graph.update(guards_code=[RUNS])),
        "holds guards",
    ),
    "expression": (first_of("expr_str", RUNS), "holds the expression"),
    "operator": (
        first_of("target", "torch.ops.aten.from_file.default"),
        "holds the operator 'torch.ops.aten.from_file",
    ),
    "library": (lambda entries: {"data/aotinductor/model/m.so": b"\x7fELF"}, "holds the entry 'data/aotinductor"),
    "entry": (lambda entries: {"../../evil": b""}, "holds the entry '../../evil'"),
    "deep graph": (lambda entries: {GRAPH: b"[" * 100_000}, "damaged: "),
    "no graph": (lambda entries: {GRAPH: b"{}"}, "damaged: 'guards_code'"),
    "text for a graph": (lambda entries: {GRAPH: b"hello"}, "damaged: "),
    "number for weights": (lambda entries: {WEIGHTS: b"5"}, "damaged: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_is_refused(name: str, entries: Entries, here: Path) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(UserError) as refusal:
        open_program(written(entries, make(entries)))
    assert str(refusal.value).startswith("m.pt2: ") and message in str(refusal.value)
    assert not (here / "sprung").exists()


def test_damaged_bytes_are_refused(here: Path) -> None:
    content = bytearray(exported("plain").path(".pt2").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(8)
    (here / "m.pt2").write_bytes(content)
    with pytest.raises(UserError, match=r"^m\.pt2: not a torch\.export program \(damaged: "):
        open_program(Path("m.pt2"))


def test_torch_itself_would_run_it(entries: Entries, here: Path) -> None:
    """The reason for this module."""
    path = written(entries, first_of("expr_str", RUNS)(entries))
    with pytest.raises(Exception, match=r".+"):
        torch.export.load(path)
    assert (here / "sprung").exists()


def test_examples_are_never_unpickled(entries: Entries, here: Path) -> None:
    path = written(entries, {EXAMPLES: pickle.dumps(Trap())})
    assert open_program(path).manifest.classes
    assert not (here / "sprung").exists()


def test_bomb_is_refused(entries: Entries, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt2_archive, "LARGEST_BYTES", 10**6)
    path = written(entries, {"data/weights/weight_999": bytes(10**7)})
    with pytest.raises(UserError, match=r"^m\.pt2: unpacks to more than 1000000 bytes$"):
        checked_archive(path)
