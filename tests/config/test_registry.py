"""A name under `ship` yields an entry of DVC's model registry, or the lines to add."""

from pathlib import Path

import pytest
import yaml
from dvc.repo.artifacts import name_is_compatible
from dvc.schema import SINGLE_ARTIFACT_SCHEMA

from selectq.config.load import load_params
from selectq.config.registry import registry_entries, require_registered
from selectq.errors import UserError

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")


def test_entries_are_what_dvc_takes() -> None:
    entries = registry_entries(PARAMS)
    assert len(entries) == len(PARAMS.ship) * len(PARAMS.formats) > 0
    SINGLE_ARTIFACT_SCHEMA(entries)
    assert all(map(name_is_compatible, entries))


def test_shipped_model_that_is_not_registered_is_refused_with_the_lines_to_add(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entries = registry_entries(PARAMS)
    require_registered(PARAMS, entries)
    missing = list(entries)[-1]
    with pytest.raises(UserError, match=f"^ship: not under artifacts in dvc.yaml: {missing}; add the lines above$"):
        require_registered(PARAMS, {name: entry for name, entry in entries.items() if name != missing})
    assert yaml.safe_load(capsys.readouterr().out) == {"artifacts": {missing: entries[missing]}}
