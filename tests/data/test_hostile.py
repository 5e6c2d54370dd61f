"""Hostile archives, images and parameters are refused in one line, and nothing of them runs or is written."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hostile import NO_IMAGES, OUTSIDE, YAML_TEXTS, Maker, picture_bomb

from selectq.config.load import read_yaml
from selectq.data.archives import GENEROUS, read_archive
from selectq.data.decoding import decode
from selectq.data.left_out import LeftOut
from selectq.errors import UserError


def read_all(path: Path) -> None:
    with path.open("rb") as archive:
        files = list(read_archive(archive, path.name, GENEROUS, LeftOut(path.name)))
    for file in files:
        decode(file.content, str(file.path))
    if not files:
        raise UserError("all of it was left out")


FILES: Mapping[str, tuple[Maker, Callable[[Path], object]]] = {
    **{name: (make, read_all) for name, make in OUTSIDE.items()},
    **{name: (make, lambda path: decode(path.read_bytes(), path.name)) for name, make in NO_IMAGES.items()},
    "picture.zip": (picture_bomb, read_all),
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
