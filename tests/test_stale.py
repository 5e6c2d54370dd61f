"""What a removed configuration left behind is named."""

from pathlib import Path

import pytest

from selectq.errors import UserError
from selectq.stale import refuse_stale


def test_only_what_is_not_expected_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.json", "further/d.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    expected = [tmp_path / name for name in ("a.csv", "b.csv", "to_come.csv")]
    refuse_stale(expected)
    refuse_stale(expected, folders=[tmp_path / "absent"])
    with pytest.raises(UserError, match=r"further/d\.csv: of no configuration"):
        refuse_stale(expected, folders=[tmp_path / "further"])
    with pytest.raises(UserError, match=r"^\S+b\.csv: of no configuration in params\.yaml; delete, or put"):
        refuse_stale(expected[:1])
